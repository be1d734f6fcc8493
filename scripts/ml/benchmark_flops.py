"""Counts the arithmetic that SLi-Rec cannot do without: the floor that measured times are held against.

Only matrix products are counted, two operations for each multiply-add, after the savings that are exact: a history is
encoded once for all its candidates, and the first attention layer is split into a part of the event, a part of the
candidate and a product term. Element-wise work (activations, normalisation, softmax, dropout, the optimiser) is left
out, so that the floor is what a machine would need that does all of that for free.
"""

from dataclasses import dataclass
from itertools import pairwise

from training.config import ModelConfig

BACKWARD_AND_FORWARD = 3  # the gradient of a product is two products of the same size


@dataclass(frozen=True)
class Sizes:
    """Widths of the network.

    Attributes:
        event: D, item and category embeddings together.
        item: Item embedding, what the LSTM reads.
        hidden: H, units of the LSTM.
        attention: Hidden layers of target attention and of the fusion gate.
        prediction: Hidden layers of the prediction network.
    """

    event: int
    item: int
    hidden: int
    attention: tuple[int, ...]
    prediction: tuple[int, ...]

    @classmethod
    def of(cls, config: ModelConfig) -> "Sizes":
        """Returns the widths that a configuration asks for."""
        return cls(
            config.embedding_dim,
            config.item_embedding_dim,
            config.hidden_size,
            tuple(config.att_fcn_layer_sizes),
            tuple(config.layer_sizes),
        )


def _network(width: int, layers: tuple[int, ...]) -> int:
    """Multiply-adds of a fully connected network with one output, for one row."""
    return sum(before * after for before, after in pairwise((width, *layers, 1)))


def encode_flops(sizes: Sizes, events: int) -> int:
    """Returns the operations of encoding one history of `events` events."""
    units = sizes.hidden
    lstm = 4 * units * (sizes.item + units)  # gates, from the input and from the state
    time_gates = 2 * (sizes.item * units + 2 * units * units)  # each reads the event, and its time for gate and output
    keys = units * sizes.event + sizes.event * sizes.attention[0]  # projection; the event's part of the first layer
    long_term = 2 * sizes.event  # logit and weighted sum
    return 2 * events * (lstm + time_gates + keys + long_term)


def score_flops(sizes: Sizes, events: int, candidates: int, *, prepared: bool) -> int:
    """Returns the operations of scoring `candidates` for one encoded history of `events` events.

    First layers that read several things side by side are split: what reads the candidate alone is done once for each
    candidate, what reads the shopper alone once, and only the rest for each pair.

    Args:
        sizes: Widths.
        events: Events of the history.
        candidates: Candidates.
        prepared: Whether the candidates' own part is at hand, as in a server, whose weights do not change.
    """
    width, gate, prediction = sizes.event, sizes.attention[0], sizes.prediction[0]
    shopper = (width + 1) * gate  # long-term taste and time, in the gate
    candidate = 0 if prepared else width * (gate + gate + prediction)  # in attention, gate and prediction
    attention = _network(width, sizes.attention) + sizes.hidden  # and the weighted sum of outputs
    rest = _network(width, sizes.attention) + _network(width, sizes.prediction)  # short-term taste; taste
    return 2 * (shopper + candidates * (candidate + events * attention + rest))


def rank_flops(sizes: Sizes, events: int, candidates: int, *, prepared: bool = True) -> int:
    """Returns the operations of one request: one history, all candidates, as in `score_flops`."""
    return encode_flops(sizes, events) + score_flops(sizes, events, candidates, prepared=prepared)


def step_flops(sizes: Sizes, events: float, positives: int, candidates: int) -> int:
    """Returns the operations of a training step.

    Args:
        sizes: Widths.
        events: Events of a history; the mean where they differ, since all counts are linear in it.
        positives: Examples.
        candidates: Candidates of an example, the positive included.
    """
    one = rank_flops(sizes, 1, candidates, prepared=False)
    per_event = rank_flops(sizes, 2, candidates, prepared=False) - one
    return round(BACKWARD_AND_FORWARD * positives * (one + (events - 1) * per_event))
