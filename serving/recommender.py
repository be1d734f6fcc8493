"""Ranks the whole inventory for shoppers with ONNX Runtime.

A history is encoded once; its state is then scored against the candidates in chunks. What concerns the candidates
alone is computed once, when the bundle is opened.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.bundle import Bundle
from serving.config import ServeConfig
from serving.network import History, Network, Positions, State
from serving.ranking import popularity_shares, sigmoid, top_k
from serving.requests import Request, RequestError, parse_request
from serving.shortlist import Shortlist
from serving.tables import StoredHistory, take
from serving.threads import Workers, default_threads

__all__ = ["Recommendation", "Recommender", "RequestError"]

Rows = npt.NDArray[np.intp]

_TOGETHER = 16  # shoppers that one thread encodes together and then ranks: bounds what encoded histories take


@dataclass(frozen=True)
class Recommendation:
    """Products for one shopper, best first.

    Attributes:
        item_ids: Shopify GIDs (for a candidate that is not in the catalogue: its id as received).
        scores: In [0, 1], falling: the sigmoid of the network's logit, or the popularity share.
        handles: Product handles ("" for a candidate that is not in the catalogue).
        message: What was unusual about the request; None when all was well. Holds no shopper data.
    """

    item_ids: list[str]
    scores: list[float]
    handles: list[str]
    message: str | None


@dataclass(frozen=True)
class _Question:
    """A request in the bundle's terms; nothing in it is as long as the catalogue, as there may be many of them.

    Attributes:
        request: What was asked.
        history: To encode; None: nothing is known of the shopper.
        notes: What was unusual so far.
    """

    request: Request
    history: History | None
    notes: list[str]


class Recommender:
    """Ranks the products of a bundle's catalogue. Thread-safe and deterministic; keeps no state between requests."""

    def __init__(self, bundle: Bundle, config: ServeConfig | None = None) -> None:
        """Opens the graphs and computes what concerns the candidates alone.

        Args:
            bundle: Opened bundle.
            config: Defaults of requests, two stages, chunk size and threads; by default `ServeConfig()`.

        Raises:
            BundleError: A graph cannot be opened or has other inputs or outputs than `bundle.json` says.
        """
        self.bundle = bundle
        self.config = config or ServeConfig()
        self._item_index = bundle.vocabularies["item"].index
        catalogue = bundle.catalogue
        self._trained = np.flatnonzero(catalogue.item_ids > 0)  # catalogue rows; 0 = never seen in training
        self._untrained = np.flatnonzero(catalogue.item_ids == 0)
        # A product that training never saw has no standing in the popularity ranking either.
        self._popularity = popularity_shares(catalogue.popularity[self._trained])
        self._workers = Workers(self.config.num_threads or default_threads())
        self._network = Network(bundle, self.config, self._workers, catalogue.item_ids[self._trained])
        two_stage_from = self.config.two_stage_from
        large = two_stage_from is not None and len(self._trained) >= two_stage_from
        self._shortlist = Shortlist(self._network, self.config.shortlist_sample) if large else None

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
    ) -> Recommendation:
        """Returns the best products for one shopper.

        The history is, in this order: the given events whose handle the network knows (others are skipped, with a
        message); the stored last events of a known `user_id`; none, and then products are ranked by popularity, with
        a message. Of a history longer than `max_seq_length` the latest events are read, while the time features still
        count from its first event. Products that training never saw score 0 and come last.

        Args:
            user_id: The shopper; None or "" for an anonymous one.
            items: Product handles.
            timestamps: One an item, UNIX seconds or (above 1e11) milliseconds, as numbers or text, in any order.
            k: Products wanted; by default `config.k`. Fewer are returned where there are not as many.
            recommend_seen: Whether products that the shopper has touched may be recommended: the given ones, and of a
                known `user_id` also all stored ones. By default `config.recommend_seen`.
            candidate_ids: Handles or GIDs to choose among; empty = the whole catalogue. Repeated ones count once;
                ones that are not in the catalogue score 0 and come last, with a message.
            now: Time of the recommendation, like `timestamps`; by default, and at the least, the latest event's.

        Raises:
            RequestError: Lists of unequal length, a timestamp that is no time, a `k` that is no positive integer, or
                an argument of another type.
        """
        question = self._question(
            (user_id, items, timestamps),
            {"k": k, "recommend_seen": recommend_seen, "candidate_ids": candidate_ids, "now": now},
        )
        state = None if question.history is None else self._network.encode([question.history])[0]
        return self._answer(question, state)

    def recommend_batch(
        self,
        shoppers: Sequence[tuple[str | None, Sequence[str], Sequence[str | int | float]]],
        *,
        k: int | None = None,
        recommend_seen: bool | None = None,
        candidate_ids: Sequence[str] = (),
        now: str | int | float | None = None,
    ) -> list[Recommendation]:
        """Returns for each shopper what `recommend` would, to within rounding, in less time.

        Histories of one length are encoded together, and each thread ranks shoppers of its own.

        Args:
            shoppers: (user_id, items, timestamps) of each, as in `recommend`.
            k: As in `recommend`, for all shoppers, and so are the others.
            recommend_seen: As in `recommend`.
            candidate_ids: As in `recommend`.
            now: As in `recommend`.

        Raises:
            RequestError: As in `recommend`; `Row n: ` at the start of the message counts the shoppers from 0.
        """
        keywords: dict[str, object] = {
            "k": k,
            "recommend_seen": recommend_seen,
            "candidate_ids": candidate_ids,
            "now": now,
        }
        questions: list[_Question] = []
        for row, shopper in enumerate(shoppers):
            try:
                questions.append(self._question(shopper, keywords))
            except RequestError as error:
                raise RequestError(f"Row {row}: {error}") from None
        answers: dict[int, Recommendation] = {}
        # Those with histories of one length beside each other: they are encoded in one call.
        order = sorted(range(len(questions)), key=lambda row: _length(questions[row].history))

        def task(number: int) -> None:
            rows = order[number * _TOGETHER : (number + 1) * _TOGETHER]
            known = {row: history for row in rows if (history := questions[row].history) is not None}
            states = dict(zip(known, self._network.encode(list(known.values())), strict=True))
            for row in rows:
                answers[row] = self._answer(questions[row], states.get(row), share=False)

        self._workers.run(task, -(-len(order) // _TOGETHER))
        return [answers[row] for row in range(len(questions))]

    def _question(self, shopper: tuple[object, object, object], keywords: dict[str, object]) -> _Question:
        user_id, items, timestamps = shopper
        request = parse_request(user_id, items, timestamps, **keywords, config=self.config)
        notes: list[str] = []
        return _Question(request, self._history(request, notes), notes)

    def _stored(self, request: Request) -> StoredHistory | None:
        return None if request.user_id is None else self.bundle.events.history(request.user_id)

    def _history(self, request: Request, notes: list[str]) -> History | None:
        """History to encode; None: nothing is known."""
        ids = np.array([self._item_index.get(handle or "", 0) for handle in request.handles], np.int32)
        known = ids > 0
        if skipped := len(ids) - int(known.sum()):
            notes.append(f"{skipped} of {len(ids)} items are not known to the model and were skipped.")
        if known.any():
            times = request.timestamps[known]
            # An unknown product is skipped, but its event still shows when the shopper was last active.
            now = _now(request.now, int(request.timestamps[-1]), notes)
            return History(ids[known], times, int(times[0]), now)
        stored = self._stored(request)
        if stored is not None:
            kept = stored.items > 0
            if kept.any():
                if len(ids):
                    notes.append("The shopper's stored events were used instead.")
                now = _now(request.now, int(stored.timestamps[-1]), notes)
                return History(stored.items[kept], stored.timestamps[kept], stored.first_timestamp, now)
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

    def _eligible(self, request: Request, notes: list[str]) -> tuple[Positions | None, Rows, list[str]]:
        """What to rank.

        Returns:
            Products that training saw, as rising positions among all of these (None: all), catalogue rows of the
            other products, rising, and the ids that are not in the catalogue.
        """
        excluded = [] if request.recommend_seen else self._seen(request)
        if not request.candidate_ids and not excluded:
            return None, self._untrained, []
        eligible = np.full(len(self.bundle.catalogue), not request.candidate_ids)
        absent: list[str] = []
        for candidate in request.candidate_ids:
            row = self.bundle.catalogue.row_of(candidate)
            if row is None:
                absent.append(candidate)
            else:
                eligible[row] = True
        if absent:
            count = len(request.candidate_ids)
            notes.append(
                f"{len(absent)} of {count} candidate ids are not in the catalogue; they score 0 and come last."
            )
        if not request.recommend_seen:
            eligible[excluded] = False
            absent = [candidate for candidate in absent if candidate not in request.handles]
        return np.flatnonzero(eligible[self._trained]), self._untrained[eligible[self._untrained]], absent

    def _answer(self, question: _Question, state: State | None, *, share: bool = True) -> Recommendation:
        catalogue, k, notes = self.bundle.catalogue, question.request.k, list(question.notes)
        positions, untrained, absent = self._eligible(question.request, notes)
        if state is None:
            scores = self._popularity if positions is None else self._popularity[positions]
            best = top_k(scores, k)
            scores = scores[best]
        else:
            size = max(self.config.shortlist_size, 4 * k)
            count = len(self._trained) if positions is None else len(positions)
            if self._shortlist and count >= max(self.config.two_stage_from or 0, 2 * size):
                positions = self._shortlist.best(state, size, positions, share=share)
            logits = self._network.logits(state, positions, share=share)
            best = top_k(logits, k)
            scores = sigmoid(logits[best].astype(np.float64))
        ranked = self._trained[best if positions is None else positions[best]]
        chosen = np.concatenate([ranked, untrained])[:k]
        absent = absent[: k - len(chosen)]
        zeros = [0.0] * (len(chosen) + len(absent) - len(best))
        return Recommendation(
            item_ids=take(catalogue.gids, chosen).to_pylist() + absent,
            scores=scores.tolist() + zeros,
            handles=take(catalogue.handles, chosen).to_pylist() + [""] * len(absent),
            message=" ".join(notes) or None,
        )


def _length(history: History | None) -> int:
    return 0 if history is None else len(history.items)


def _now(asked: int | None, latest: int, notes: list[str]) -> int:
    """Time of the recommendation: never before the latest event, where the time features would turn negative."""
    if asked is not None and asked < latest:
        notes.append("`now` lies before the latest event; the time of that event was used.")
    return latest if asked is None else max(asked, latest)
