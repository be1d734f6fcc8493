"""Storefront pages of the local shop, which carry the theme section as a shop's theme does.

`GET /` shows some products and the section; its query chooses the shopper and the section's settings:

- `customer=7`: that customer signs in (a cookie keeps it so; `customer=` signs out), and Liquid computes the handle
  under the shop's HMAC secret;
- `shopper=<64 hex digits>`: puts that handle into the cookie `slirec_shopper`, as a merchant's own server would, and
  comes back without it in the URL; `shopper=none` removes the cookie; both sign the customer out;
- `sections=2`: the section twice; and the settings by their ids, e.g. `heading=For%20you&count=4&show_vendor=true`.

`GET /products/<handle>` is a product's page. The policy in the header lets no script run that is not a file of the
theme, and no text become markup: what the section fails to escape would be blocked and reported in the console.
"""

import re
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, abort, make_response, redirect, render_template, request
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from scripts.shopify.dev_store.page_liquid import THEME, render_section, section_settings
from scripts.shopify.dev_store.page_shop import price_text, product_by_handle, products_on_show, shop_name, shoppers

if TYPE_CHECKING:
    from scripts.shopify.dev_store import DevStore

SECTION = "slirec-recommendations"
COOKIE = "slirec_shopper"
SIGNED_IN = "dev_store_customer"
MAX_SECTIONS = 4
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' https:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HANDLE = re.compile(r"[0-9a-f]{64}", re.IGNORECASE | re.ASCII)
_CUSTOMER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


def register(app: Flask, store: "DevStore") -> None:
    """Adds the storefront pages and the theme's assets to the application of a local shop.

    Args:
        app: Application that serves the shop.
        store: The shop. The pages read it as the Storefront API shows it.
    """
    pages = Blueprint(
        "storefront_page", __name__, template_folder="templates", static_folder="static", static_url_path="/page"
    )

    pages.add_app_template_filter(price_text, "price")

    @pages.get("/")
    def home() -> Response:
        if "shopper" in request.args:
            return _remember(request.args["shopper"])
        return _page(store, "storefront.html", products=products_on_show(store), shoppers=shoppers(store))

    @pages.get("/products/<handle>")
    def product(handle: str) -> Response:
        found = product_by_handle(store, handle)
        if found is None:
            abort(404, f"No published product has the handle {handle}.")
        return _page(store, "product.html", product=found)

    @pages.get("/assets/<path:name>")
    def asset(name: str) -> Response:
        path = (THEME / "assets" / name).resolve()
        if path.parent != THEME / "assets" or path.suffix not in (".css", ".js") or not path.is_file():
            abort(404)
        kind = "text/css" if path.suffix == ".css" else "text/javascript"
        return Response(path.read_bytes(), mimetype=kind, headers={"Cache-Control": "no-cache"})

    pages.register_error_handler(HTTPException, _refused)
    app.register_blueprint(pages)


def _page(store: "DevStore", template: str, **values: Any) -> Response:
    customer = _customer()
    liquid = {
        "customer": {"id": int(customer)} if customer else None,
        "product": values.get("product"),
        "routes": {"root_url": "/"},
        "request": {"design_mode": False},
        "shop": {"name": shop_name(store)},
    }
    try:
        settings = section_settings(SECTION, request.args)
        count = _sections(request.args.get("sections", "1"))
    except ValueError as error:
        abort(400, str(error))
    # A secret does not belong into an address, whatever the query says.
    settings["hmac_secret"] = store.hmac_secret
    settings["cookie_name"] = settings["cookie_name"] or COOKIE
    settings["storefront_token"] = settings["storefront_token"] or store.storefront_token
    sections = [
        Markup(render_section(SECTION, f"recommendations-{n}", settings, **liquid)) for n in range(1, count + 1)
    ]
    remembered = request.cookies.get(COOKIE)
    html = render_template(
        template, shop=shop_name(store), sections=sections, customer=customer, remembered=remembered, **values
    )
    response = make_response(html)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    if customer:
        response.set_cookie(SIGNED_IN, customer, httponly=True, samesite="Lax")
    else:
        response.delete_cookie(SIGNED_IN)
    return response


def _customer() -> str | None:
    """Returns the number of the customer who is signed in, or None."""
    asked = request.args.get("customer")
    if asked and not _CUSTOMER.fullmatch(asked):
        abort(400, f"`customer` should be the number in a customer's GID, such as 7. Received: {asked}")
    kept = request.cookies.get(SIGNED_IN, "") if asked is None else asked
    return kept if _CUSTOMER.fullmatch(kept) else None


def _remember(handle: str) -> Response:
    response = make_response(redirect("/"))
    response.delete_cookie(SIGNED_IN)
    if handle == "none":
        response.delete_cookie(COOKIE)
    elif _HANDLE.fullmatch(handle):
        response.set_cookie(COOKIE, handle, samesite="Lax")
    else:
        abort(400, f"`shopper` should be 64 hexadecimal digits, or none. Received: {handle}")
    return response


def _sections(text: str) -> int:
    if text not in {str(number) for number in range(1, MAX_SECTIONS + 1)}:
        raise ValueError(f"`sections` should be from 1 to {MAX_SECTIONS}. Received: {text}")
    return int(text)


def _refused(error: HTTPException) -> Response:
    """Says in plain text what is wrong with an address; what it quotes of it cannot become markup."""
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(f"{error.description}\n", error.code, headers, mimetype="text/plain")
