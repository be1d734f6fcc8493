"""A shop with published products and recommendations, and a browser to look at it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import require
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from scripts.shopify.marks import METAOBJECT_FIELD, METAOBJECT_TYPE

CUSTOMER = "gid://shopify/Customer/7"
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--lang=en-US"),
)
VISITOR = "0123456789abcdef" * 4
TITLES = ("Merino Beanie", "Trail Shoes", "Stoneware Mug", "Linen Shirt", "Cast-iron Skillet")
_PRODUCT = """mutation Set($identifier: ProductSetIdentifiers!, $input: ProductSetInput!) {
  productSet(identifier: $identifier, input: $input, synchronous: true) {
    product { id }
    userErrors { field message }
  }
}"""
_PUBLISH = """mutation Publish($id: ID!, $input: [PublicationInput!]!) {
  publishablePublish(id: $id, input: $input) { userErrors { field message } }
}"""
_DEFINITION = """mutation Define($definition: MetaobjectDefinitionCreateInput!) {
  metaobjectDefinitionCreate(definition: $definition) { userErrors { field message } }
}"""
_ENTRY = """mutation Upsert($handle: MetaobjectHandleInput!, $metaobject: MetaobjectUpsertInput!) {
  metaobjectUpsert(handle: $handle, metaobject: $metaobject) { userErrors { field message } }
}"""


def run(store, document: str, **variables) -> dict:
    """Carries out a mutation that must succeed and returns its payload."""
    answer = store.execute(document, variables)
    assert "errors" not in answer, answer
    (payload,) = answer["data"].values()
    assert payload["userErrors"] == []
    return payload


def add_product(store, title: str, *, published: bool = True, price: str = "9.90") -> str:
    """Makes a product and returns its GID."""
    handle = "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())
    option = {"optionName": "Title", "name": "Default Title"}
    fields = {"handle": handle, "title": title, "vendor": "Plainweave & Sons", "status": "ACTIVE"}
    fields["productOptions"] = [{"name": "Title", "values": [{"name": "Default Title"}]}]
    fields["variants"] = [{"optionValues": [option], "price": price}]
    gid = run(store, _PRODUCT, identifier={"handle": handle}, input=fields)["product"]["id"]
    if published:
        publications = [{"publicationId": document["id"]} for document in store.state.scan("Publication")]
        run(store, _PUBLISH, id=gid, input=publications)
    return gid


def define_recommendations(store) -> None:
    """Makes the metaobject definition that the storefront may read."""
    field = {"key": METAOBJECT_FIELD, "name": "Products", "type": "list.product_reference"}
    definition = {"type": METAOBJECT_TYPE, "name": "Recommendations", "fieldDefinitions": [field]}
    run(store, _DEFINITION, definition=definition | {"access": {"storefront": "PUBLIC_READ"}})


def recommend(store, handle: str, products: list[str]) -> None:
    """Publishes one shopper's recommendations."""
    fields = [{"key": METAOBJECT_FIELD, "value": json.dumps(products)}]
    run(store, _ENTRY, handle={"type": METAOBJECT_TYPE, "handle": handle}, metaobject={"fields": fields})


@contextmanager
def chromium(folder: Path) -> Iterator[webdriver.Chrome]:
    """A headless Chromium with a profile of its own."""
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver_path = shutil.which("chromedriver")
    require(binary, "chromium")
    require(driver_path, "chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(binary)
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(driver_path)))
    driver.set_page_load_timeout(30)
    driver.set_script_timeout(30)
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """The shop's page in the browser, and what a shopper notices of it."""

    def __init__(self, driver: webdriver.Chrome, store):
        self.driver, self.store = driver, store
        self._added: list[str] = []

    def open(self, path: str = "/", *, width: int = 1280, height: int = 900) -> "Page":
        """Loads a page and waits until each section on it has made up its mind."""
        self.size(width, height)
        self.driver.get(self.store.url + path)
        WebDriverWait(self.driver, 15, 0.05).until(lambda _: all(self.states()) and "waiting" not in self.states())
        return self

    def remember(self, handle: str) -> None:
        """Puts a handle into the cookie."""
        cookie = {"name": "slirec_shopper", "value": handle, "url": self.store.url}
        self.driver.execute_cdp_cmd("Network.setCookie", cookie)

    def size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def states(self) -> list[str | None]:
        """What each section says about itself."""
        return self.js("return [...document.querySelectorAll('slirec-recommendations')].map(e => e.dataset.state)")

    def js(self, script: str, *arguments):
        return self.driver.execute_script(script, *arguments)

    def cards(self) -> list[dict]:
        """The visible cards from first to last: title, path of the link, text."""
        return self.js(
            """return [...document.querySelectorAll('.slirec__card')].filter(c => c.checkVisibility()).map(c => ({
                title: c.querySelector('a').textContent, path: c.querySelector('a').getAttribute('href'),
                text: c.innerText.split('\\n').filter(line => line)}))"""
        )

    def titles(self) -> list[str]:
        return [card["title"] for card in self.cards()]

    def room(self) -> list[float]:
        """Height that each section takes, in pixels."""
        return self.js(
            "return [...document.querySelectorAll('slirec-recommendations')].map(e => e.getBoundingClientRect().height)"
        )

    def console(self) -> list[dict]:
        """Warnings and errors in the console since the last look."""
        return [entry for entry in self.driver.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]

    def storefront_requests(self) -> list:
        return [request for request in self.store.requests if request.api == "storefront"]

    def before_scripts(self, source: str) -> None:
        """Runs a script in each page from now on, before the page's own."""
        command = "Page.addScriptToEvaluateOnNewDocument"
        self._added.append(self.driver.execute_cdp_cmd(command, {"source": source})["identifier"])

    def forget_scripts(self) -> None:
        while self._added:
            command = "Page.removeScriptToEvaluateOnNewDocument"
            self.driver.execute_cdp_cmd(command, {"identifier": self._added.pop()})


@contextmanager
def shop_page(driver: webdriver.Chrome, store) -> Iterator[Page]:
    """A browser without cookies, and a shop where VISITOR has five recommendations."""
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    driver.get("about:blank")
    driver.get_log("browser")
    define_recommendations(store)
    recommend(store, VISITOR, [add_product(store, title) for title in TITLES])
    page = Page(driver, store)
    try:
        yield page
    finally:
        page.forget_scripts()
        driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})


def visit(page: Page, query: str = "", **size) -> Page:
    """Opens the page as VISITOR, whose handle is in the cookie."""
    page.remember(VISITOR)
    return page.open(f"/?{query}", **size)


def assert_quiet(page: Page, *, network: bool = False) -> None:
    """Nothing is visible, nothing takes room, no script complains; `network`: the browser noted a failed request."""
    assert page.cards() == []
    assert not page.driver.find_element(By.CSS_SELECTOR, "slirec-recommendations section").is_displayed()
    assert page.room() == [0]
    assert {entry["source"] for entry in page.console()} <= ({"network"} if network else set())


def answer(nodes: list[dict]) -> str:
    """Script that answers the section's request with these products."""
    body = {"data": {"metaobject": {"field": {"references": {"nodes": nodes}}}}}
    return f"window.fetch = async () => new Response(JSON.stringify({json.dumps(body)}))"
