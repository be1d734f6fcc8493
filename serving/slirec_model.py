"""The registered model: a pyfunc that MLflow runs from this source file (models-from-code, nothing is pickled).

`predict` hints at a plain DataFrame on purpose: from any richer type MLflow would derive a signature that has no named
columns, and that would override the one in `serving.registry`.
"""

import logging
from collections.abc import Mapping
from typing import Any

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

        Args:
            context: Unused; everything was opened by `load_context`.
            model_input: DataFrame with columns userId (text), items and timestamps (lists of text).
            params: `k`, `recommend_seen`, `candidate_ids`, `now` (UNIX seconds; 0 = the time of the latest event),
                `with_message` (rows also have `message`: what was unusual, or None).

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE says why a parameter, or the only row, is malformed;
                INTERNAL_ERROR says nothing, details are in the log.
        """
        params = params or {}
        try:
            answers = self.recommender.recommend_batch(
                [_shopper(*row) for row in zip(*(model_input[name] for name in COLUMNS), strict=True)],
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
            raise MlflowException(message, error_code=INTERNAL_ERROR) from None
        if len(answers) == 1 and isinstance(answers[0], RequestError):
            raise _refused(answers[0], 1)
        with_message = bool(params.get("with_message", False))
        return [_row(number, answer, with_message) for number, answer in enumerate(answers)]


def _refused(error: RequestError, rows: int) -> MlflowException:
    return MlflowException(f"Row 0: {error}" if rows == 1 else str(error), error_code=INVALID_PARAMETER_VALUE)


def _shopper(user_id: Any, items: Any, timestamps: Any) -> tuple[Any, Any, Any]:
    return None if user_id is pd.NA else user_id, items, timestamps


def _row(number: int, answer: Recommendation | RequestError, with_message: bool) -> dict[str, Any]:
    if isinstance(answer, RequestError):
        ids, scores, message = [], [], f"Refused: {answer}"
    else:
        ids, scores, message = answer.item_ids, answer.scores, answer.message
    if message:
        logger.info("Row %d: %s", number, message)
    return {"itemIds": ids, "preds": scores, **({"message": message} if with_message else {})}


set_model(SliRecShopifyModel())
