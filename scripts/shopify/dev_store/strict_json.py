"""JSON from outside, read so that whatever is taken can be stored and sent again."""

import json
import math
from typing import Any, Never


def read_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text.

    Raises:
        ValueError: It is no JSON, or what only Python takes for it: NaN and infinite numbers; or it is nested too
            deeply, or holds half a surrogate pair, which is no character.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        # Only an escape can bring half a pair, so that ordinary texts are not written out for nothing.
        if (b"\\u" if isinstance(text, bytes) else "\\u") in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    return value


def _refuse(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is too large")
    return number
