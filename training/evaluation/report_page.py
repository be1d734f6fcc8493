"""A report as blocks, and the blocks as Markdown or as one self-contained HTML file.

Whatever text a block holds is data: it is escaped, so that a product's or method's name cannot become markup.
"""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from matplotlib.figure import Figure

_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#333;max-width:72em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0;font-size:14px}"
    "th,td{border-bottom:1px solid #ddd;padding:.25em .7em;text-align:right;vertical-align:top}"
    "th:first-child,td:first-child{text-align:left}img{max-width:100%}"
    ".note{border-left:4px solid #0072B2;background:#f2f8fc;padding:.5em 1em}"
)
# Nothing is fetched: pictures are data, the style is in the file, and there are no scripts.
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_NOTE: Final = '<p class="note">'


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title's."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; `note` sets it apart."""

    text: str
    note: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table; the first column is the name of the row.

    Raises:
        ValueError: If a row has not as many cells as the header.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        wrong = [len(row) for row in self.rows if len(row) != len(self.header)]
        if wrong:
            raise ValueError(f"each row should have {len(self.header)} cells, as the header. Received: {wrong}")


@dataclass(frozen=True)
class Picture:
    """A plot: what it shows in a sentence, and its PNG file's bytes."""

    text: str
    png: bytes


Block = Heading | Text | Bullets | Table | Picture


def picture_of(figure: Figure, text: str) -> Picture:
    """Returns a figure as a picture."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return Picture(text, stream.getvalue())


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """Returns the report as Markdown (GitHub's, with tables); pictures are left to the HTML file, and named.

    Args:
        title: Heading of level 1.
        blocks: What follows.
    """
    parts = [f"# {_markdown_text(title)}", *(_markdown(block) for block in blocks)]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {_markdown_text(block.text)}"
        case Text():
            return f"{'> ' if block.note else ''}{_markdown_text(block.text)}"
        case Bullets():
            return "\n".join(f"- {_markdown_text(item)}" for item in block.items)
        case Table():
            lines = [f"| {' | '.join(map(_markdown_text, line))} |" for line in (block.header, *block.rows)]
            return "\n".join([lines[0], f"|---|{'---:|' * (len(block.header) - 1)}", *lines[1:]])
        case Picture():
            return f"Plot in the HTML file: {_markdown_text(block.text)}"


def _markdown_text(text: str) -> str:
    flat = " ".join(text.split())
    marked = re.sub(r"([\\`*_\[\]|])", r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"^([#>+\-]|\d+[.)])(?=\s|$)", r"\\\1", marked)


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """Returns the report as one HTML file that needs nothing else; it is well-formed XML as well.

    Args:
        title: Of the page and of its first heading.
        blocks: What follows.
    """
    body = "\n".join(_html(block) for block in (Heading(title, 1), *blocks))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}"/>\n'
        f"<title>{_html_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{_html_text(block.text)}</h{block.level}>"
        case Text():
            return f"{_NOTE if block.note else '<p>'}{_html_text(block.text)}</p>"
        case Bullets():
            return "<ul>" + "".join(f"<li>{_html_text(item)}</li>" for item in block.items) + "</ul>"
        case Table():
            head = "".join(f"<th>{_html_text(cell)}</th>" for cell in block.header)
            rows = "\n".join(
                "<tr>" + "".join(f"<td>{_html_text(cell)}</td>" for cell in row) + "</tr>" for row in block.rows
            )
            return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
        case Picture():
            data = base64.b64encode(block.png).decode("ascii")
            return f'<p><img alt="{_html_text(block.text)}" src="data:image/png;base64,{data}"/></p>'


def _html_text(text: str) -> str:
    # Control characters may stand in no HTML file, escaped or not.
    return escape(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]", "\ufffd", text))
