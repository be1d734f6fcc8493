"""The registered model: a pyfunc that MLflow runs from this source file (models-from-code, nothing is pickled).

`predict` hints at a plain DataFrame on purpose: from any richer type MLflow would derive a signature that has no named
columns, and that would override the one in `serving.registry`.
"""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel

from serving.bundle import open_bundle
from serving.config import serve_config
from serving.recommender import Recommendation, Recommender
from serving.requests import RequestError

logger = logging.getLogger("serving.slirec_model")

COLUMNS = ("userId", "items", "timestamps")


class _Refusal(MlflowException):
    """Keeps its message: MLflow's scoring server would put the whole request, a shopper's data, in front of it."""

    def __init__(self, message: str, error_code: int) -> None:
        self._text = message
        super().__init__(message, error_code=error_code)

    @property
    def message(self) -> str:
        """What went wrong."""
        return self._text

    @message.setter
    def message(self, text: str) -> None:
        """Changes nothing."""


class SliRecShopifyModel(PythonModel):
    """Ranks the inventory of the bundle it was logged with."""

    def load_context(self, context: Any) -> None:
        """Opens the bundle of the logged artifacts with the logged (or, at load time, overridden) configuration."""
        config = serve_config(dict(context.model_config or {}))
        self.recommender = Recommender(open_bundle(context.artifacts["bundle"]), config)

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        context: Any,
        model_input: pd.DataFrame,
        params: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Returns one `{"itemIds": [GID], "preds": [score]}` a row, best first.

        Of several rows a malformed one fails alone: it gets empty lists, and, where messages are asked for, the reason.
        Who asks for messages gets it for an only row, too: how a table is cut into calls then changes nothing.

        Args:
            context: Unused; everything was opened by `load_context`.
            model_input: DataFrame with columns userId (text), items and timestamps (lists of text); and, where the
                model has such features, perhaps columns named after those of events (lists of text) and users (text).
            params: `k`, `recommend_seen`, `candidate_ids`, `now` (UNIX seconds; 0 = the time of the latest event),
                `with_message` (rows also have `message`: what was unusual, or None).

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE says why a parameter, or the only row where no messages are asked
                for, is malformed; INTERNAL_ERROR says nothing, details are in the log.
        """
        params = params or {}
        features = self.recommender.features
        named = [name for name in (*features.of_events, *features.of_users) if name in model_input.columns]
        try:
            rows = zip(*(model_input[name] for name in (*COLUMNS, *named)), strict=True)
            answers = self.recommender.recommend_batch(
                [_shopper(named, *row) for row in rows],
                k=params.get("k"),
                recommend_seen=params.get("recommend_seen"),
                candidate_ids=params.get("candidate_ids", ()),
                now=params.get("now") or None,
            )
        except RequestError as error:
            raise _refused(error, len(model_input)) from None
        except Exception:
            logger.exception("%d rows could not be ranked", len(model_input))
            message = "The request could not be answered; the server's log says why"
            raise _Refusal(message, INTERNAL_ERROR) from None
        with_message = bool(params.get("with_message", False))
        if len(answers) == 1 and isinstance(answers[0], RequestError) and not with_message:
            raise _refused(answers[0], 1)
        return [_row(number, answer, with_message) for number, answer in enumerate(answers)]


def _refused(error: RequestError, rows: int) -> MlflowException:
    return _Refusal(f"Row 0: {error}" if rows == 1 else str(error), INVALID_PARAMETER_VALUE)


def _shopper(named: list[str], *row: Any) -> tuple[Any, ...]:
    # MLflow makes NumPy texts of lists; a message that names the type should be the same through every door.
    values = [None if x is pd.NA else x.tolist() if isinstance(x, np.ndarray) else x for x in row]
    count = len(COLUMNS)
    return *values[:count], dict(zip(named, values[count:], strict=True))


def _row(number: int, answer: Recommendation | RequestError, with_message: bool) -> dict[str, Any]:
    if isinstance(answer, RequestError):
        ids, scores, message = [], [], f"Refused: {answer}"
    else:
        ids, scores, message = answer.item_ids, answer.scores, answer.message
    if message:
        logger.info("Row %d: %s", number, message)
    return {"itemIds": ids, "preds": scores, **({"message": message} if with_message else {})}


set_model(SliRecShopifyModel())
