"""What a Shopify answer means: done, worth asking again, or one clear `ShopifyError`.

Throttling: https://shopify.dev/docs/api/usage/limits; versions: https://shopify.dev/docs/api/usage/versioning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LONGEST_WAIT = 120.0
"""Seconds of one wait at most, whatever the server asks for."""


class ShopifyError(RuntimeError):
    """A request that Shopify refused, or that never got an answer.

    Attributes:
        code: Shopify's own code (`ACCESS_DENIED`, `MAX_COST_EXCEEDED`, ...), or `USER_ERRORS`, `VERSION`,
            `UNAUTHORIZED`, `SCOPES`, `HTTP_<status>`, `NO_ANSWER`, `URL`, `BULK_START`, `BULK_RESULT`,
            `BULK_TIMEOUT`, `BULK_UNKNOWN`, `OPERATION_IN_PROGRESS`, `EMPTY`, `CHANNELS`, `SHOP`, `UNFINISHED`, `ERROR`;
            of a bulk operation that went wrong, its errorCode or status.
        user_errors: The entries of `userErrors`, if those were the reason.
        outcome_unknown: Whether a mutation may have been carried out all the same.
    """

    def __init__(
        self,
        message: str,
        code: str = "ERROR",
        user_errors: Sequence[Mapping[str, Any]] = (),
        outcome_unknown: bool = False,
    ):
        super().__init__(message)
        self.code = code
        self.user_errors = tuple(user_errors)
        self.outcome_unknown = outcome_unknown


@dataclass(frozen=True)
class Answer:
    """What came back for one request; `status` 0 means that nothing came.

    Attributes:
        status: HTTP status.
        headers: HTTP headers, looked up without regard to case.
        data: The `data` of the GraphQL answer.
        errors: Its `errors`; a text or object outside GraphQL proper is made one entry.
        cost: Its `extensions.cost`.
        problem: What went wrong below GraphQL, in words.
        lost: Whether the connection broke, so that the server may or may not have acted.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] | None = None
    errors: Sequence[Mapping[str, Any]] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    lost: bool = False

    @property
    def codes(self) -> set[str]:
        """Codes of the errors, without the empty one."""
        return {str((error.get("extensions") or {}).get("code", "")) for error in self.errors} - {""}

    @property
    def interrupted(self) -> bool:
        """Whether the server failed midway or the answer got lost."""
        return self.lost or self.status >= 500 or "INTERNAL_SERVER_ERROR" in self.codes

    @property
    def reason(self) -> str:
        """One line that says what is wrong."""
        texts: list[str] = []
        for error in self.errors:
            needs = (error.get("extensions") or {}).get("requiredAccess")
            texts.append(str(error.get("message", error)) + (f" Needs: {needs}" if needs else ""))
        text = "; ".join(texts) or self.problem or "no data"
        status = f"HTTP {self.status}: " if self.status not in (0, 200) else ""
        return status + " ".join(text.split())[:500]

    def wait_before_repeat(self, repeatable: bool, attempt: int, rng: np.random.Generator) -> float | None:
        """Returns the seconds to wait before sending the request again, or None where the answer stands.

        A throttled request was not carried out, so it may always be sent again; one that was interrupted only where
        repeating is safe.

        Args:
            repeatable: Whether repeating is safe.
            attempt: 1 after the first attempt, and so on.
            rng: Source of the jitter, up to a quarter of the wait and a quarter of a second.
        """
        wait = backoff = min(30.0, 0.5 * 2**attempt)
        if "THROTTLED" in self.codes:
            bucket = self.cost.get("throttleStatus") or {}
            lacking = float(self.cost.get("requestedQueryCost") or 0) - float(bucket.get("currentlyAvailable") or 0)
            if rate := float(bucket.get("restoreRate") or 0):
                wait = max(0.0, lacking) / rate
        elif self.status == 429:
            try:
                wait = max(0.0, float(self.headers.get("Retry-After", backoff)))
            except ValueError:  # a date
                wait = backoff
        elif not (repeatable and self.interrupted):
            return None
        return min(LONGEST_WAIT, wait * rng.uniform(1.0, 1.25) + rng.uniform(0.0, 0.25))

    def failure(self, asked_version: str) -> tuple[str, str, Sequence[Mapping[str, Any]]] | None:
        """Says why this is not the data that was asked for.

        Args:
            asked_version: API version in the request's address; Shopify serves another one silently once it expired.

        Returns:
            Message, code and userErrors for a `ShopifyError`, or None where all is well.
        """
        served = self.headers.get("X-Shopify-API-Version", asked_version)
        if self.status == 401:
            return "Shopify does not accept the token: check the credentials and the shop's name", "UNAUTHORIZED", ()
        if self.status != 200:
            return self.reason, f"HTTP_{self.status}" if self.status else "NO_ANSWER", ()
        if served != asked_version:
            return f"asked for API version {asked_version}, served {served}: ask for a supported one", "VERSION", ()
        if "ACCESS_DENIED" in self.codes:
            return f"access denied: {self.reason}", "ACCESS_DENIED", ()
        if self.errors or self.data is None:
            return self.reason, min(self.codes, default="ERROR"), ()
        for value in self.data.values():
            if isinstance(value, Mapping) and (user_errors := value.get("userErrors")):
                shown = [f"{'.'.join(error.get('field') or ['request'])}: {error['message']}" for error in user_errors]
                return "; ".join(shown), "USER_ERRORS", user_errors
        return None
