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
from serving.recommender import Recommender
from serving.requests import RequestError

logger = logging.getLogger("serving.slirec_model")


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

        Args:
            context: Unused; everything was opened by `load_context`.
            model_input: DataFrame with columns userId (text), items and timestamps (lists of text).
            params: `k`, `recommend_seen`, `candidate_ids`, `now` (UNIX seconds; 0 = the time of the latest event).

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE names the row (from 0) that is malformed and why;
                INTERNAL_ERROR says nothing more, details are in the log.
        """
        rows = zip(model_input["userId"], model_input["items"], model_input["timestamps"], strict=True)
        return [self._row(number, *row, params or {}) for number, row in enumerate(rows)]

    def _row(self, number: int, user_id: Any, items: Any, timestamps: Any, params: Mapping[str, Any]) -> dict[str, Any]:
        try:
            answer = self.recommender.recommend(
                user_id if isinstance(user_id, str) else None,  # a missing text may arrive as None or NaN
                items,
                timestamps,
                k=params.get("k"),
                recommend_seen=params.get("recommend_seen"),
                candidate_ids=params.get("candidate_ids", ()),
                now=params.get("now") or None,
            )
        except RequestError as error:
            raise MlflowException(f"Row {number}: {error}", error_code=INVALID_PARAMETER_VALUE) from None
        except Exception:
            logger.exception("Row %d could not be ranked", number)
            message = f"Row {number} could not be ranked; the server's log says why"
            raise MlflowException(message, error_code=INTERNAL_ERROR) from None
        if answer.message:
            logger.info("Row %d: %s", number, answer.message)
        return {"itemIds": answer.item_ids, "preds": answer.scores}


set_model(SliRecShopifyModel())
