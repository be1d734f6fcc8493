"""Ranks the whole inventory for shoppers with ONNX Runtime.

What a shopper is ranked by is the bundle's ranker (`serving.rankers`): a network, which encodes a history once and then
scores its state against the candidates in chunks, or another method. What concerns the candidates alone is computed
once, when the bundle is opened.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.bundle import Bundle
from serving.config import ServeConfig
from serving.features import Features
from serving.network import History, Positions
from serving.questions import Choice, Question
from serving.rankers import Prepared, open_ranker
from serving.ranking import popularity_shares, sigmoid, top_k
from serving.requests import MAX_ID_LENGTH, Request, RequestError, parse_options, parse_request
from serving.rules import allowed_products
from serving.tables import StoredHistory
from serving.threads import Workers, default_threads

__all__ = ["Recommendation", "Recommender", "RequestError"]

Rows = npt.NDArray[np.intp]

_TOGETHER = 16  # shoppers that one thread encodes together and then ranks: bounds what encoded histories take


@dataclass(frozen=True)
class Recommendation:
    """Products for one shopper, best first.

    Attributes:
        item_ids: Shopify GIDs (for a candidate that is not in the catalogue: its id as received).
        scores: In [0, 1], falling: the sigmoid of the ranker's logit, or the popularity share.
        handles: Product handles ("" for a candidate that is not in the catalogue).
        message: What was unusual about the request; None when all was well. Holds no shopper data.
    """

    item_ids: list[str]
    scores: list[float]
    handles: list[str]
    message: str | None


class Recommender:
    """Ranks the products of a bundle's catalogue. Thread-safe and deterministic; keeps no state between requests."""

    def __init__(
        self, bundle: Bundle, config: ServeConfig | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Applies the rules, opens the graphs and computes what concerns the candidates alone.

        Args:
            bundle: Opened bundle.
            config: Defaults of requests, rules, two stages, chunk size and threads; by default `ServeConfig()`.
            clock: Returns UNIX seconds; tells which events lie in the future.

        Raises:
            BundleError: A graph cannot be opened or has other inputs or outputs than `bundle.json` says.
            ConfigError: The rules leave no product.
        """
        self.bundle = bundle
        self.config = config or ServeConfig()
        self._clock = clock
        self._item_index = bundle.vocabularies["item"].index
        self.features = Features(bundle.manifest.custom_features, bundle.vocabularies)
        catalogue = bundle.catalogue
        # The catalogue's own text objects by row: nothing is made for each product that is recommended.
        self._gids = np.array([*catalogue.row_of_gid], object)
        self._handles = np.array([*catalogue.row_of_handle], object)
        self._allowed = allowed_products(catalogue, self.config)
        trained = catalogue.item_ids > 0  # 0 = never seen in training
        self._trained = np.flatnonzero(trained & self._allowed)  # catalogue rows
        self._untrained = np.flatnonzero(~trained & self._allowed)
        # A product that training never saw has no standing in the popularity ranking either.
        shares = np.zeros(len(catalogue))
        shares[trained] = popularity_shares(catalogue.popularity[trained])
        self._popularity = shares[self._trained]
        self._workers = Workers(self.config.num_threads or default_threads())
        self._ranker = open_ranker(bundle, self.config, self._workers, catalogue.item_ids[self._trained])

    def recommend(
        self,
        user_id: str | None = None,
        items: Sequence[str] = (),
        timestamps: Sequence[str | int | float] = (),
        *,
        k: int | None = None,
        recommend_seen: bool | None = None,
        candidate_ids: Sequence[str] = (),
        now: str | int | float | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> Recommendation:
        """Returns the best products for one shopper.

        The history is, in this order: the given events whose handle the model knows (others are skipped, with a
        message); the stored last events of a known `user_id`; none, and then products are ranked by popularity, with
        a message. Of a long history a network reads the latest `max_seq_length` events, while its time features still
        count from the first one; any other method reads `history_length`. Products that training never saw score 0 and
        come last.

        Args:
            user_id: The shopper; None or "" for an anonymous one.
            items: Product handles, at most 100,000. Null and NaN count as an empty list, here and in `timestamps`.
            timestamps: One an item, UNIX seconds or (above 1e11) milliseconds, as numbers or text, in any order; events
                at one time keep their order. Later ones than `now`, or than the server's clock and a day, since clocks
                differ, are set to that, with a message.
            k: Products wanted; by default `config.k`. Fewer are returned where there are not as many.
            recommend_seen: Whether products that the shopper has touched may be recommended: the given ones, and of a
                known `user_id` also all stored ones. By default `config.recommend_seen`; `config.exclude_seen` is above
                both.
            candidate_ids: Handles or GIDs to choose among, at most 100,000; empty = the whole catalogue. Repeated ones
                count once; ones that are not in the catalogue score 0 and come last, and ones that the model's rules
                exclude are left out, both with a message.
            now: Time of the recommendation, like `timestamps`; by default the latest event's.
            features: By name, what the request says of the model's custom features: of events a list, one value an
                item, of the user one value; texts, numbers or null. Of stored events the stored values are used, and so
                is that of a known user who comes without. Unknown values count as missing, with a message.

        Raises:
            RequestError: Lists of unequal length or too long, a timestamp that is no time, a `k` that is no positive
                integer, or an argument of another type.
        """
        choice = self._choice(k, recommend_seen, candidate_ids, now)
        question = self._question(choice, user_id, items, timestamps, features)
        prepared = None if question.history is None else self._ranker.prepare([question.history])[0]
        return self._answer(choice, question, prepared, share=True)

    def recommend_batch(
        self,
        shoppers: Sequence[tuple[Any, ...]],
        *,
        k: int | None = None,
        recommend_seen: bool | None = None,
        candidate_ids: Sequence[str] = (),
        now: str | int | float | None = None,
    ) -> list[Recommendation | RequestError]:
        """Returns for each shopper what `recommend` would return, bit for bit, or raise; in less time.

        Each thread ranks shoppers of its own. A shopper's answer does not depend on the others: not on their number,
        nor on the order, nor on the number of threads, since every graph is called with the same rows either way.

        Args:
            shoppers: (user_id, items, timestamps) or (user_id, items, timestamps, features) of each, as in `recommend`.
            k: As in `recommend`, for all shoppers, and so are the others.
            recommend_seen: As in `recommend`.
            candidate_ids: As in `recommend`.
            now: As in `recommend`.

        Returns:
            One a shopper, in their order.

        Raises:
            RequestError: What is asked for all shoppers is malformed.
        """
        choice = self._choice(k, recommend_seen, candidate_ids, now)
        answers: dict[int, Recommendation | RequestError] = {}
        questions: dict[int, Question] = {}
        for row, shopper in enumerate(shoppers):
            try:
                questions[row] = self._question(choice, *shopper)
            except RequestError as error:
                answers[row] = error
        # Those with histories of one length beside each other: they are encoded in one call.
        order = sorted(questions, key=lambda row: questions[row].events)

        def task(number: int) -> None:
            rows = order[number * _TOGETHER : (number + 1) * _TOGETHER]
            known = {row: history for row in rows if (history := questions[row].history) is not None}
            prepared = dict(zip(known, self._ranker.prepare(list(known.values())), strict=True))
            for row in rows:
                answers[row] = self._answer(choice, questions[row], prepared.get(row), share=len(shoppers) == 1)

        self._workers.run(task, -(-len(order) // _TOGETHER))
        return [answers[row] for row in range(len(shoppers))]

    def _choice(self, k: object, recommend_seen: object, candidate_ids: object, now: object) -> Choice:
        options = parse_options(
            k=k,
            recommend_seen=recommend_seen,
            candidate_ids=candidate_ids,
            now=now,
            config=self.config,
            clock=self._clock(),
        )
        notes, catalogue, count = list(options.notes), self.bundle.catalogue, len(options.candidate_ids)
        if not count:
            return Choice(options, None, (), tuple(notes))
        eligible = np.zeros(len(catalogue), np.bool_)
        absent: list[str] = []
        excluded = 0
        for candidate in options.candidate_ids:
            row = catalogue.row_of(candidate) if len(candidate) <= MAX_ID_LENGTH else None
            if row is None:
                absent.append(candidate)
            elif self._allowed[row]:
                eligible[row] = True
            else:
                excluded += 1
        if absent:
            notes.append(
                f"{len(absent)} of {count} candidate ids are not in the catalogue; they score 0 and come last."
            )
        if excluded:
            notes.append(f"{excluded} of {count} candidate ids are excluded by this model's rules and were left out.")
        return Choice(options, eligible, tuple(absent), tuple(notes))

    def _question(
        self, choice: Choice, user_id: object, items: object, timestamps: object, features: object = None
    ) -> Question:
        of = self.features
        latest = choice.options.latest
        request = parse_request(user_id, items, timestamps, latest, features, of.of_events, of.of_users)
        notes: list[str] = []
        if request.strange:
            notes.append(f"{request.strange} features are not of this model and were ignored.")
        history = self._history(request, choice.options.now, notes)
        return Question(request, history, [*notes, *choice.notes])

    def _stored(self, request: Request) -> StoredHistory | None:
        return None if request.user_id is None else self.bundle.events.history(request.user_id)

    def _history(self, request: Request, now: int | None, notes: list[str]) -> History | None:
        """History to encode; None: nothing is known."""
        ids = np.array([self._item_index.get(handle or "", 0) for handle in request.handles], np.int32)
        known = ids > 0
        if request.late:
            late = f"{request.late} of {len(ids)} timestamps"
            notes.append(f"{late} lie in the future and were set to the time of the request.")
        if skipped := len(ids) - int(known.sum()):
            notes.append(f"{skipped} of {len(ids)} items are not known to the model and were skipped.")
        if known.any():
            times = request.timestamps[known]
            # An unknown product is skipped, but its event still shows when the shopper was last active.
            moment = int(request.timestamps[-1]) if now is None else now
            stored = self._stored(request) if self.features.of_users else None
            values = self.features.of_request(request, known, stored, notes)
            return History(ids[known], times, int(times[0]), moment, request.timestamps[~known], values)
        stored = self._stored(request)
        if stored is not None:
            kept = stored.items > 0
            if kept.any():
                if len(ids):
                    notes.append("The shopper's stored events were used instead.")
                latest = int(stored.timestamps[-1])
                if now is not None and now < latest:
                    notes.append("`now` lies before the shopper's latest stored event; that event's time was used.")
                moment = latest if now is None else max(now, latest)
                times, others = stored.timestamps[kept], stored.timestamps[~kept]
                values = self.features.of_stored(request, stored, kept, notes)
                return History(stored.items[kept], times, stored.first_timestamp, moment, others, values)
        notes.append("Nothing is known of this shopper: products are ranked by popularity.")
        return None

    def _seen(self, request: Request) -> list[int]:
        """Catalogue rows that the shopper has seen, some of them more than once."""
        catalogue = self.bundle.catalogue
        seen = [row for handle in request.handles if (row := catalogue.row_of_handle.get(handle or "")) is not None]
        stored = self._stored(request)
        if stored is not None:
            rows = catalogue.row_of_item[stored.seen]
            seen += rows[rows >= 0].tolist()
        return seen

    def _eligible(self, choice: Choice, request: Request) -> tuple[Positions | None, Rows, Sequence[str]]:
        """What to rank.

        Returns:
            Products that training saw, as rising positions among all allowed ones (None: all), catalogue rows of the
            other products, rising, and the ids that are not in the catalogue.
        """
        excluded = [] if choice.options.recommend_seen else self._seen(request)
        if choice.eligible is None and not excluded:
            return None, self._untrained, ()
        eligible = np.ones(len(self._allowed), np.bool_) if choice.eligible is None else choice.eligible.copy()
        eligible[excluded] = False
        absent = choice.absent
        if absent and not choice.options.recommend_seen:
            touched = set(request.handles)
            absent = [candidate for candidate in absent if candidate not in touched]
        return np.flatnonzero(eligible[self._trained]), self._untrained[eligible[self._untrained]], absent

    def _answer(self, choice: Choice, question: Question, prepared: Prepared, *, share: bool) -> Recommendation:
        k, notes = choice.options.k, question.notes
        positions, untrained, absent = self._eligible(choice, question.request)
        if prepared is None:
            scores = self._popularity if positions is None else self._popularity[positions]
            best = top_k(scores, k)
            scores = scores[best]
        else:
            positions, logits = self._ranker.rank(prepared, k, positions, share=share)
            best = top_k(logits, k)
            scores = sigmoid(logits[best].astype(np.float64))
        ranked = self._trained[best if positions is None else positions[best]]
        chosen = np.concatenate([ranked, untrained])[:k]
        absent = list(absent[: k - len(chosen)])
        if not len(chosen) and not absent:
            notes.append("No product is left to recommend.")
        zeros = [0.0] * (len(chosen) + len(absent) - len(best))
        return Recommendation(
            item_ids=self._gids[chosen].tolist() + absent,
            scores=scores.tolist() + zeros,
            handles=self._handles[chosen].tolist() + [""] * len(absent),
            message=" ".join(notes) or None,
        )
