"""Writes the page of `scripts.ml.ablate`: Markdown, JSON and a picture."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from training.ablation import Line, markdown, plot, table
from training.files import atomic_path, write_json

METRIC = "NDCG@10"
TITLES = {"synthetic": "Synthetic data, last product left out", "retail": "Complete Journey, products of 21 days"}


def write(arguments: argparse.Namespace, lines: list[Line], notes: list[str]) -> list[Path]:
    """Replaces the part's section in the three files, each atomically, and returns the paths."""
    path = arguments.output / "ablation.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"parts": {}}
    budget = (
        f"Each run: {arguments.examples:,} training examples in {arguments.epochs} epochs, the best by validation; "
        f"{arguments.seeds} seed(s). Interval and lead: paired bootstrap over shoppers."
    )
    command = f"`python -m scripts.ml.ablate {arguments.command}`"
    document["metric"] = METRIC
    document["parts"][arguments.part] = {
        "notes": [*notes, budget, command],
        "lines": table(lines, METRIC, np.random.default_rng(0)),
    }
    write_json(document, path)
    return [path, *render(document, arguments.output)]


def render(document: dict[str, Any], folder: Path) -> list[Path]:
    """Writes what the JSON file holds as Markdown and as a picture, each atomically, and returns the paths."""
    parts = {TITLES[name]: document["parts"][name] for name in TITLES if name in document["parts"]}
    sections = [markdown(title, part["notes"], METRIC, part["lines"]) for title, part in parts.items()]
    head = (
        "# What each choice in training is worth\n\nShort runs: they show the order of the choices, not what a full "
        "training reaches. Examples/s and seconds depend on what else the machine did meanwhile.\n\n"
    )
    paths = [folder / "ablation.md", folder / "ablation.png"]
    with atomic_path(paths[0]) as temporary:
        temporary.write_text(head + "\n".join(sections) + "\n![Ablation](ablation.png)\n", encoding="utf-8")
    with atomic_path(paths[1]) as temporary:
        plot({title: part["lines"] for title, part in parts.items()}, METRIC).savefig(temporary, format="png")
    return paths
