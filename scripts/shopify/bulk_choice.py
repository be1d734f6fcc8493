"""The choice that the commands' `--bulk` gives: by a bulk operation, request by request, or whichever suits."""

from typing import Final, Literal, get_args

Way = Literal["auto", "always", "never"]
BULK_CHOICES: Final = get_args(Way)
