"""Sales channels: which of them a shop has, and publishing to those where something is not published yet.

https://shopify.dev/docs/api/admin-graphql/latest/mutations/publishablePublish.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from scripts.shopify.answers import ShopifyError
from scripts.shopify.client import ShopifyClient
from scripts.shopify.marks import MARK_KEYS
from scripts.shopify.payloads import payload_of

ONLINE_STORE: Final = "online_store"
"""Handle of the Online Store's app, the same in every shop."""


@dataclass(frozen=True)
class Channels:
    """The channels to publish to.

    Attributes:
        publications: GIDs of their publications.
        found: Their app handles.
        missing: Handles that were asked for and that the shop does not have.
        others: Handles that it has besides.
    """

    publications: tuple[str, ...]
    found: tuple[str, ...]
    missing: tuple[str, ...]
    others: tuple[str, ...]

    def names(self, publications: Sequence[str]) -> str:
        """Returns the app handles of some of the publications, for a message."""
        return ", ".join(self.found[self.publications.index(publication)] for publication in publications)

    @property
    def there(self) -> str:
        """What the shop has besides, for a message."""
        return f"it has {', '.join(self.others)}" if self.others else "it has none that this token may look into"


def find_channels(client: ShopifyClient, handles: Sequence[str] | None = None) -> Channels:
    """Looks up the publications of channels by the handles of their apps.

    Args:
        client: Client of the shop; needs `read_publications` and `read_products`.
        handles: App handles, such as `online_store` or that of an app with a storefront token. None stands for the
            Online Store, which a shop need not have.

    Returns:
        What there is of them.

    Raises:
        ShopifyError: The shop has none of those that were asked for by name (code `CHANNELS`), the token may not read
            publications, or Shopify does not answer.
    """
    publication_of: dict[str, str] = {}
    for page in client.pages("publications_page", "publications", page_size=25):
        for node in page:
            # A publication without a catalog is one that the token may not look into.
            for app in ((node["catalog"] or {}).get("apps") or {"nodes": []})["nodes"]:
                publication_of.setdefault(app["handle"], node["id"])
    wanted = (ONLINE_STORE,) if handles is None else tuple(dict.fromkeys(handles))
    found = tuple(handle for handle in wanted if handle in publication_of)
    channels = Channels(
        publications=tuple(publication_of[handle] for handle in found),
        found=found,
        missing=tuple(handle for handle in wanted if handle not in publication_of),
        others=tuple(handle for handle in publication_of if handle not in wanted),
    )
    if handles and not found:
        message = f"this shop has no channel {' or '.join(wanted)}; {channels.there}. Nothing was written"
        raise ShopifyError(message, code="CHANNELS")
    return channels


def lookup(client: ShopifyClient, name: str, handle: str, publications: Sequence[str]) -> dict[str, Any] | None:
    """Looks up a product or collection by its handle.

    Args:
        client: Client of the shop.
        name: Document `product_by_handle` or `collection_by_handle`.
        handle: Handle of what is looked for.
        publications: GIDs of the publications it should be published to.

    Returns:
        What the document selects, and under `unpublished` those of `publications` to which it is not published; None
        where there is nothing under the handle.

    Raises:
        ShopifyError: Shopify does not answer.
    """
    variables: dict[str, Any] = {"handle": handle, "withPublication": bool(publications), **MARK_KEYS}
    if publications:
        variables["publicationId"] = publications[0]
    (found,) = client.execute(name, variables).values()
    if found is None:
        return None
    unpublished = [] if found.get("publishedOnPublication", True) else [publications[0]]
    for publication in publications[1:]:
        node = client.execute("published_on", {"id": found["id"], "publicationId": publication})["node"]
        if node is None or not node["publishedOnPublication"]:
            unpublished.append(publication)
    return {**found, "unpublished": unpublished}


def publish(client: ShopifyClient, gid: str, publications: Sequence[str]) -> None:
    """Publishes a product or collection, in one request.

    Args:
        client: Client of the shop; needs `write_publications`.
        gid: Product or collection.
        publications: GIDs of publications.

    Raises:
        ShopifyError: Shopify refused, or does not answer.
    """
    pairs = [{"publicationId": publication} for publication in publications]
    payload_of(client.execute("publish", {"id": gid, "input": pairs}, repeatable=True), "publishablePublish")
