"""Texts and ids as Shopify has them: handles, GIDs, one line of what may be several."""

import re
import unicodedata
from typing import Final

MAX_HANDLE_LENGTH: Final = 255
"""Characters of a handle at most."""


def one_line(text: str) -> str:
    """Returns a text with a blank in place of line breaks, tabs and other control characters, none at its ends."""
    return re.sub(r"[\x00-\x1f]+", " ", text).strip()


def gid_number(gid: str) -> int:
    """Returns the number in a GID such as `gid://shopify/Product/12`; things made later have higher ones.

    Raises:
        ValueError: It does not end with a number.
    """
    return int(gid.rsplit("/", 1)[1])


def shopify_handle(text: str) -> str:
    """Returns what Shopify makes of a text that is given as a handle; a handle that it would keep stays as it is.

    Lower case, Latin letters without accents, letters of other scripts with their marks, digits and underscores; one
    hyphen for anything else between them. https://help.shopify.com/en/manual/online-store/themes/theme-structure/handles
    """
    text = unicodedata.normalize("NFKD", text.lower())
    text = unicodedata.normalize("NFC", re.sub(r"(?<=[a-z])[\u0300-\u036f]+", "", text))
    text = re.sub(r"['’]", "", text)
    # Not `\w`, which leaves out the combining marks that Thai and Indic words are written with.
    kept = (letter if letter == "_" or unicodedata.category(letter)[0] in "LNM" else "-" for letter in text)
    return re.sub(r"-+", "-", "".join(kept))[:MAX_HANDLE_LENGTH].strip("-")
