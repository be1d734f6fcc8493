"""The comparison of a reloaded model's answer with the example of its bundle."""

import pytest

from serving.clean_process import RegistryError, check_example
from serving.config import ServeConfig

EXPECTED = {"itemIds": ["a", "b", "c"], "preds": [0.9, 0.5, 0.1]}


@pytest.mark.parametrize(
    ("ids", "scores", "sound"),
    [
        ("abc", [0.9, 0.5, 0.1], True),
        ("abc", [0.9 + 9e-6, 0.5, 0.1 - 9e-6], True),
        ("abd", [0.9, 0.5, 0.1], True),  # a tie on the edge of the list
        ("abc", [0.9, 0.5 + 2e-5, 0.1], False),
        ("bac", [0.9, 0.5, 0.1], False),
        ("adc", [0.9, 0.5, 0.1], False),
        ("ab", [0.9, 0.5], False),
        ("abc", [0.9, float("nan"), 0.1], False),
    ],
)
def test_example_is_compared_score_by_score(ids, scores, sound):
    answer = [{"itemIds": list(ids), "preds": scores}]
    tolerance = ServeConfig().example_tolerance
    if sound:
        check_example(answer, EXPECTED, tolerance)
    else:
        with pytest.raises(RegistryError):
            check_example(answer, EXPECTED, tolerance)
