"""A request in the bundle's terms: what all shoppers of a call choose among, and what each one's row says."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.network import History
from serving.requests import Options, Request


@dataclass(frozen=True)
class Choice:
    """What one call chooses among: the same for all of its shoppers, and worked out once.

    Attributes:
        options: What was asked.
        eligible: (P,) catalogue rows of the candidates that the rules allow; None: all that they allow.
        absent: Candidate ids that are not in the catalogue.
        notes: What was unusual.
    """

    options: Options
    eligible: npt.NDArray[np.bool_] | None
    absent: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """What one shopper's row says, in the bundle's terms.

    Attributes:
        request: The row.
        history: To encode; None: nothing is known of the shopper.
        notes: What was unusual so far.
    """

    request: Request
    history: History | None
    notes: list[str]

    @property
    def events(self) -> int:
        """Events to encode."""
        return 0 if self.history is None else len(self.history.items)
