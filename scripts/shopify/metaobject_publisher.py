"""Publishes recommendations: one metaobject a shopper, whose field lists the products.

Shopify refuses an entry as a whole where one of its products is unknown (deleted since the model was trained), and
names only the first. So the products of a refused entry are looked up, each once however many entries have it; what the
shop does not have is left out, for all shoppers from then on, and the entry is sent again. That happens only after a
round that found another unknown product, so the rounds end.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from tqdm import tqdm

from scripts.shopify.answers import ShopifyError
from scripts.shopify.bulk import BulkLine, bulk_mutation, end_earlier_mutations
from scripts.shopify.bulk_choice import BULK_CHOICES, Way
from scripts.shopify.client import ShopifyClient
from scripts.shopify.marks import METAOBJECT_FIELD, METAOBJECT_TYPE
from scripts.shopify.recommendation_file import HANDLE, PRODUCTS, ROW

BULK_ABOVE: Final = 200
"""Shoppers up to which each is a request of its own: at 10 points each they fit into the full bucket of the smallest
plan (2,000 points). Beyond it they would go at 10 a second, while a bulk mutation costs no points at all."""
ATTEMPTS: Final = 3
"""How often an entry is sent for which no result comes back."""
_DOCUMENT = "metaobject_upsert"
_LOOKED_UP = 250  # products a request, Shopify's limit for a list of ids
_CHUNK = 10_000  # shoppers taken from the table at a time


@dataclass
class PublishResult:
    """What became of the shoppers; everyone is in exactly one of the first three.

    Attributes:
        published: Shoppers whose entry now lists their products.
        without_products: Rows of shoppers none of whose products the shop has.
        failed: Rows of shoppers whose entry could not be written, by the reason.
        unknown: Numbers of products that the shop does not have.
    """

    published: int = 0
    without_products: list[int] = field(default_factory=list)
    failed: dict[str, list[int]] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)

    @property
    def num_failed(self) -> int:
        """Shoppers whose entry could not be written."""
        return sum(map(len, self.failed.values()))


class _Refusal(NamedTuple):
    position: int
    reason: str
    by_product: bool


class Publisher:
    """Sends the recommendations of some shoppers until each is published, has no products, or has failed.

    Args:
        client: Client of the shop.
        shoppers: Columns of `recommendation_file.SHOPPER_SCHEMA`, a shopper once.
        k: Products a shopper; further ones stand in for those that the shop does not have.
        bulk: `always`, `never`, or `auto`: by bulk mutation above `BULK_ABOVE` shoppers.
        progress: Show progress bars on standard error.
    """

    def __init__(
        self, client: ShopifyClient, shoppers: pl.DataFrame, k: int, bulk: Way = "auto", progress: bool = False
    ):
        if bulk not in BULK_CHOICES:
            raise ValueError(f"`bulk` should be one of {', '.join(BULK_CHOICES)}. Received: bulk = {bulk!r}")
        self._client, self._shoppers, self._k, self._bulk = client, shoppers, k, bulk
        self._bar = partial(tqdm, disable=not progress)
        self._done: Callable[[int], object] = lambda _: None
        self._existing: set[int] = set()
        self._suspects: set[int] = set()
        self._attempts: Counter[int] = Counter()
        self.result = PublishResult()

    def publish(self) -> PublishResult:
        """Sends everything, after it has ended what a publication that was killed may have left at work in the shop.

        Raises:
            ShopifyError: A request failed that would fail for every shopper, or a shopper was lost on the way.
        """
        end_earlier_mutations(self._client, _DOCUMENT)  # an older list would replace one that is published now
        pending: Sequence[int] = range(len(self._shoppers))
        with self._bar(desc="shoppers", unit="shopper", total=len(pending)) as bar:
            self._done = bar.update
            while len(pending):
                pending = self._round(pending)
        result = self.result
        for rows in (result.without_products, *result.failed.values()):
            rows.sort()
        accounted = result.published + len(result.without_products) + result.num_failed
        if accounted != len(self._shoppers):
            raise ShopifyError(f"of {len(self._shoppers)} shoppers {accounted} are accounted for; publish again")
        return result

    def look_up_all(self) -> PublishResult:
        """Finds out which products the shop lacks and so what `publish` would do; writes nothing."""
        self._look_up(self._shoppers[PRODUCTS].explode().drop_nulls().unique().to_list())
        for row, products in self._shoppers.select(ROW, PRODUCTS).iter_rows():
            if self._wanted(products):
                self.result.published += 1
            else:
                self.result.without_products.append(row)
        return self.result

    def _round(self, pending: Sequence[int]) -> list[int]:
        """Sends the shoppers at these positions once; returns the positions to send again."""
        in_bulk = self._bulk == "always" or (self._bulk == "auto" and len(pending) > BULK_ABOVE)
        unknown_before = set(self.result.unknown)
        sent: list[int] = []
        answered = np.zeros(len(pending), bool)
        refused: list[_Refusal] = []
        again: list[int] = []
        for line in self._lines(self._variables(pending, sent), in_bulk):
            if answered[line.number]:
                continue
            answered[line.number] = True
            position = sent[line.number]
            if line.user_errors:
                refused.append(self._refusal(position, line.user_errors))
                if not in_bulk:  # at once, so that the next shopper is spared the same
                    self._look_up_suspects()
            elif line.problem is not None or not (line.data or {}).get("metaobjectUpsert"):
                again += self._unanswered(position, line.problem or "no result")
            else:
                self.result.published += 1
                self._done(1)
        for number in np.flatnonzero(~answered[: len(sent)]):
            again += self._unanswered(sent[number], "no result")
        return sorted(again + self._curable(refused, unknown_before))

    def _lines(self, variables: Iterable[Mapping[str, Any]], in_bulk: bool) -> Iterator[BulkLine]:
        if in_bulk:
            with self._bar(desc="bulk mutation", unit="line", leave=False) as bar:
                yield from bulk_mutation(self._client, _DOCUMENT, variables, progress=bar)
            return
        for number, values in enumerate(variables):
            try:
                data = self._client.execute(_DOCUMENT, values, repeatable=True)
            except ShopifyError as error:
                if not error.user_errors:
                    raise
                yield BulkLine(number, None, error.user_errors)
            else:
                yield BulkLine(number, data)

    def _variables(self, pending: Sequence[int], sent: list[int]) -> Iterator[dict[str, Any]]:
        """Yields the variables of every shopper with products, noting in `sent` whose they are."""
        for begin in range(0, len(pending), _CHUNK):
            self._look_up_suspects()  # of the uploads before this one
            positions = list(pending[begin : begin + _CHUNK])
            rows = self._shoppers[positions].select(ROW, HANDLE, PRODUCTS).iter_rows()
            for position, (row, handle, products) in zip(positions, rows, strict=True):
                if wanted := self._wanted(products):
                    sent.append(position)
                    value = json.dumps([f"gid://shopify/Product/{number}" for number in wanted])
                    fields = [{"key": METAOBJECT_FIELD, "value": value}]
                    yield {"handle": {"type": METAOBJECT_TYPE, "handle": handle}, "metaobject": {"fields": fields}}
                else:
                    self.result.without_products.append(row)
                    self._done(1)

    def _wanted(self, products: Iterable[int]) -> list[int]:
        return [number for number in products if number not in self.result.unknown][: self._k]

    def _refusal(self, position: int, user_errors: Iterable[Mapping[str, Any]]) -> _Refusal:
        """Says why an entry was refused; where it was for a product, all that it had are suspects."""
        reasons = {f"{error['message']} ({error.get('code')})": None for error in user_errors}
        by_product = any(error.get("code") == "INVALID_VALUE" for error in user_errors)
        if by_product:
            self._suspects.update(self._wanted(self._shoppers[PRODUCTS][position]))
        return _Refusal(position, "; ".join(reasons), by_product)

    def _curable(self, refused: Sequence[_Refusal], unknown_before: set[int]) -> list[int]:
        """Returns the refused shoppers of whose products this round has found one unknown; the others have failed."""
        self._look_up_suspects()
        found = self.result.unknown - unknown_before
        curable: list[int] = []
        for position, reason, by_product in refused:
            if by_product and found.intersection(self._shoppers[PRODUCTS][position]):
                curable.append(position)
            else:
                self._fail(position, reason)
        return curable

    def _look_up_suspects(self) -> None:
        self._look_up(self._suspects)
        self._suspects.clear()

    def _look_up(self, products: Iterable[int]) -> None:
        """Sorts products into those that the shop has and those that it does not have."""
        asked = sorted(set(products) - self._existing - self.result.unknown)
        for begin in range(0, len(asked), _LOOKED_UP):
            numbers = asked[begin : begin + _LOOKED_UP]
            gids = [f"gid://shopify/Product/{number}" for number in numbers]
            nodes = self._client.execute("products_existing", {"ids": gids})["nodes"]
            for number, node in zip(numbers, nodes, strict=True):
                (self.result.unknown if node is None else self._existing).add(number)

    def _unanswered(self, position: int, problem: str) -> list[int]:
        self._attempts[position] += 1
        if self._attempts[position] < ATTEMPTS:
            return [position]
        self._fail(position, f"{problem} (after {ATTEMPTS} attempts)")
        return []

    def _fail(self, position: int, reason: str) -> None:
        self.result.failed.setdefault(reason, []).append(self._shoppers[ROW][position])
        self._done(1)
