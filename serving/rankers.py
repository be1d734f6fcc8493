"""What ranks: SLi-Rec, a rank graph (any other method), or a blend of both, behind one protocol."""

from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from serving.bundle import RANK, Bundle
from serving.config import ServeConfig
from serving.manifest import SLI_REC, Part
from serving.network import History, Network, Positions, State, open_session
from serving.ranking import Float32, lowest_where_not_finite, top_k
from serving.shortlist import Shortlist
from serving.threads import Workers

# A shopper as the ranker has prepared it; nothing else looks inside.
Prepared = Any


class Ranker(Protocol):
    """Ranks a fixed list of N candidates. Thread-safe; an answer does not depend on who is ranked beside a shopper."""

    def prepare(self, histories: Sequence[History]) -> Sequence[Prepared]:
        """Does what is cheaper for several shoppers together; one result a history."""
        ...

    def rank(
        self, prepared: Prepared, k: int, positions: Positions | None = None, *, share: bool = True
    ) -> tuple[Positions | None, Float32]:
        """Scores the candidates of one shopper.

        Args:
            prepared: From `prepare`.
            k: How many are wanted; a ranker need not score those that cannot be among them.
            positions: Places in the list of candidates, rising; None: all.
            share: Whether the workers help.

        Returns:
            The positions that were scored, rising (None: all), and their float32 logits; what is not finite is -inf.
        """
        ...


class SliRec:
    """The network, in two stages where there are many candidates."""

    def __init__(self, bundle: Bundle, config: ServeConfig, workers: Workers, item_ids: npt.NDArray[np.int32]) -> None:
        """Opens the graphs.

        Args:
            bundle: Opened bundle with a network.
            config: Two stages and chunk size.
            workers: Who shares the work of large calls.
            item_ids: (N,) the candidates.

        Raises:
            BundleError: A graph cannot be opened or has other inputs or outputs than `bundle.json` says.
        """
        self.network = Network(bundle, config, workers, item_ids)
        self._config = config
        large = config.two_stage_from is not None and len(item_ids) >= config.two_stage_from
        self._shortlist = Shortlist(self.network, config.shortlist_sample) if large else None

    def prepare(self, histories: Sequence[History]) -> Sequence[State]:
        """Encodes histories."""
        return self.network.encode(histories)

    def rank(
        self, prepared: State, k: int, positions: Positions | None = None, *, share: bool = True
    ) -> tuple[Positions | None, Float32]:
        """Scores candidates, of many only a shortlist."""
        positions = self.shortlisted(prepared, k, positions, share=share)
        return positions, self.network.logits(prepared, positions, share=share)

    def shortlisted(self, prepared: State, k: int, positions: Positions | None, *, share: bool) -> Positions | None:
        """The positions that are worth an exact score."""
        size = max(self._config.shortlist_size, 4 * k)
        count = len(self.network.vectors) if positions is None else len(positions)
        if self._shortlist and count >= max(self._config.two_stage_from or 0, 2 * size):
            return self._shortlist.best(prepared, size, positions, share=share)
        return positions


class RankGraph:
    """A graph from the whole history of a shopper to the logits of all item ids."""

    def __init__(self, bundle: Bundle, item_ids: npt.NDArray[np.int32]) -> None:
        """Opens the graph.

        Args:
            bundle: Opened bundle with a rank graph.
            item_ids: (N,) the candidates.

        Raises:
            BundleError: The graph cannot be opened or has other inputs or outputs than `bundle.json` says.
        """
        self._session = open_session(bundle.graphs[RANK])
        self._names = bundle.graphs[RANK].inputs
        self._length = bundle.manifest.sizes.history_length or 1
        self._num_items = bundle.manifest.sizes.num_items
        self._item_ids = item_ids

    def prepare(self, histories: Sequence[History]) -> Sequence[History]:
        """Nothing is cheaper together."""
        return histories

    def rank(
        self, prepared: History, k: int, positions: Positions | None = None, *, share: bool = True
    ) -> tuple[Positions | None, Float32]:
        """Scores candidates; one call scores them all."""
        items, timestamps = prepared.with_unknown()
        feeds = {
            "items": items[-self._length :],
            "timestamps": timestamps[-self._length :],
            "now": np.array(prepared.now, np.int64),
        }
        found = self._session.run(["scores"], {name: feeds[name] for name in self._names})
        scores: Float32 = cast(Any, found)[0]
        if scores.shape != (self._num_items,):
            raise ValueError(f"rank should return {self._num_items} scores. Received: shape {scores.shape}")
        ids = self._item_ids if positions is None else self._item_ids[positions]
        return positions, lowest_where_not_finite(scores[ids])


class Blend:
    """Weighted sum of SLi-Rec's logits and those of a rank graph, each less a mean and over a scale of its own.

    Of many candidates those are scored that either of the two finds best.
    """

    def __init__(self, network: SliRec, rank_graph: RankGraph, config: ServeConfig, parts: Sequence[Part]) -> None:
        """Takes the two rankers, and the parts as `bundle.json` lists them."""
        self._network, self._rank_graph, self._config = network, rank_graph, config
        (self._of_network,) = (part for part in parts if part.kind == SLI_REC)
        (self._of_graph,) = (part for part in parts if part.kind != SLI_REC)

    def prepare(self, histories: Sequence[History]) -> Sequence[tuple[State, History]]:
        """Encodes histories."""
        return list(zip(self._network.prepare(histories), histories, strict=True))

    def rank(
        self, prepared: tuple[State, History], k: int, positions: Positions | None = None, *, share: bool = True
    ) -> tuple[Positions | None, Float32]:
        """Scores candidates."""
        state, history = prepared
        _, scores = self._rank_graph.rank(history, k, positions, share=share)
        chosen = self._network.shortlisted(state, k, positions, share=share)
        if chosen is not positions and chosen is not None:
            best = top_k(scores, max(self._config.shortlist_size, 4 * k))
            best = best if positions is None else positions[best]
            chosen = np.union1d(chosen, best)
            scores = scores[chosen if positions is None else np.searchsorted(positions, chosen)]
        logits = self._network.network.logits(state, chosen, share=share)
        return chosen, lowest_where_not_finite(_part(self._of_graph, scores) + _part(self._of_network, logits))


def _part(part: Part, logits: Float32) -> Float32:
    # In float64 and rounded once: the same on every machine.
    values = part.weight * (logits.astype(np.float64) - part.mean) / part.scale
    return values.astype(np.float32)


def open_ranker(bundle: Bundle, config: ServeConfig, workers: Workers, item_ids: npt.NDArray[np.int32]) -> Ranker:
    """Opens the ranker that the bundle holds, over a list of candidates.

    Raises:
        BundleError: A graph cannot be opened or has other inputs or outputs than `bundle.json` says.
    """
    ranker = bundle.manifest.ranker
    network = SliRec(bundle, config, workers, item_ids) if ranker.has_network else None
    graph = RankGraph(bundle, item_ids) if ranker.has_rank_graph else None
    if network is not None and graph is not None:
        return Blend(network, graph, config, ranker.parts)
    return network or cast(Ranker, graph)
