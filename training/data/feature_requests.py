"""Custom features of a dataset as a request carries them."""

from typing import Any

from training.data.dataset import EncodedSequences
from training.data.features import example_value


def request_values(dataset: EncodedSequences, user: int, events: Any) -> dict[str, Any]:
    """Returns custom features as a request has them: a list of texts for each of events, a text for each of the user.

    Args:
        dataset: Encoded sequences.
        user: User id.
        events: Row numbers, or a slice of rows, of the events.
    """
    values: dict[str, Any] = {}
    for each in dataset.features.stored_events:
        values[each.name] = [example_value(each, number) for number in each.ids[events].tolist()]
    for each in dataset.features.of("user"):
        values[each.name] = example_value(each, int(each.ids[user]))
    return values
