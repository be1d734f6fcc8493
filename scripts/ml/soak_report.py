"""The soak's figures: what is held against the targets, Markdown tables, and a plot."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from training.plot_style import BLUE, GREEN, GREY, GRID, INK, ORANGE, PALE, PURPLE, SKY, new_figure, set_titles

P99 = 60.0  # milliseconds
GROWTH, GROWTH_MB = 0.05, 10.0  # of a worker's memory: less than either is flat
WARM = 0.1  # share of the time after which memory is first looked at: minute 1 of 10
LIVED = 0.2  # share of the time that a worker has to live for its memory to say something
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY)

TEXT = """\
# Soak

Written by `make soak`; do not edit. locust sends made-up requests (histories of 1 to 50 products, known shoppers,
candidates, unknown products) to the real server process, on the same machine, at random moments; the server follows a
registry of its own. Each answer is compared, byte for byte, with those of both models, worked out in another process.

Command: `{command}`. Measured {date} at commit {commit}.
Machine: {cores} cores ({processor}), {memory_gb} GB, {system}, Python {python}.

- **In flight**: sent before the last connection of a killed worker ended, and lost with it; seen from the client, which
  sends no request twice. Everything else without an answer of status 200 has failed.
- **Wrong**: not the right answer of the champion at that time to that request. From the switch to the end of the next
  look (every {look_seconds:g} s) and of fetching and proving the model, both champions are right.
- **Undisturbed**: no part of the request fell within a fault, or within 10 s after it.
"""


def growths(soak: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Returns megabytes after the warm-up and at the end, of each worker that lived long enough.

    A worker that was started later warms up as long from its own start.
    """
    found: dict[str, tuple[float, float]] = {}
    length = soak["seconds"]
    for name, curve in soak["memory"].items():
        settled = [megabytes for second, megabytes in curve if second >= curve[0][0] + WARM * length]
        if name.startswith("worker") and settled and curve[-1][0] - curve[0][0] >= LIVED * length:
            found[name] = (settled[0], settled[-1])
    return found


def verdicts(document: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Returns each target with its figure, and whether it is reached."""
    soak = document["soak"]
    quiet = soak["milliseconds_quiet"].get("p99", float("inf"))
    found = [
        (f"p99 under {P99:g} ms, undisturbed: {quiet:.1f} ms", quiet < P99),
        (f"the rate is held: {soak['per_second']:.1f} of {soak['rate']:g} requests/s", _held(soak)),
        (f"failed requests 0, beside {soak['in_flight']} in flight on a killed worker: {soak['failed']}",
         soak["failed"] == 0),
        (f"wrong answers 0: {soak['wrong']}", soak["wrong"] == 0),
        (f"both models answered: {', '.join(soak['by_version'])}", len(soak["by_version"]) > 1),
        (f"the server stops with status 0: {soak['stopped_with']}", soak["stopped_with"] == 0),
    ]  # fmt: skip
    for name, (first, last) in growths(soak).items():
        flat = last - first < max(GROWTH_MB, GROWTH * first)
        found.append((f"memory of {name} flat: {first:.0f} MB, at the end {last:.0f} MB", flat))
    return found


def _held(soak: Mapping[str, Any]) -> bool:
    return soak["per_second"] >= 0.95 * soak["rate"]


def markdown(document: Mapping[str, Any]) -> str:
    """Returns `soak.md`."""
    soak = document["soak"]
    parts = [TEXT.format(**document["machine"] | document["moment"] | soak | {"command": document["command"]})]
    lines = ["## Targets", "", "| Target: figure | |", "|---|---|"]
    parts.append("\n".join(lines + [f"| {text} | {'reached' if good else '**missed**'} |" for text, good in
                                    verdicts(document)]) + "\n")  # fmt: skip
    parts.append(f"## {soak['seconds'] / 60:.1f} minutes with faults, {soak['workers']} workers\n")
    quiet = {"milliseconds": soak["milliseconds_quiet"], "requests": soak["requests_quiet"]}
    parts.append(_requests({"All": soak, "Undisturbed": quiet}))
    switches = ", ".join(f"{seconds:.1f} s" for seconds in soak["switch_seconds"])
    parts.append(f"From the order to the last answer of the champion before: {switches}.\n")
    parts.append("| Fault | at s | until s |\n|---|--:|--:|\n" + "\n".join(
        f"| {name} | {start:.0f} | {end:.0f} |" for name, start, end in soak["faults"]) + "\n")  # fmt: skip
    parts.append("| Memory, MB | first | highest | last |\n|---|--:|--:|--:|\n" + "\n".join(
        f"| {name} | {curve[0][1]:.0f} | {max(value for _, value in curve):.0f} | {curve[-1][1]:.0f} |"
        for name, curve in soak["memory"].items()) + "\n")  # fmt: skip
    if comparison := document.get("comparison"):
        parts.append(_comparison(comparison, soak["workers"]))
    parts.append("![Latency and memory over time](soak.png)\n")
    return "\n".join(parts)


def _comparison(comparison: Mapping[str, Any], workers: int) -> str:
    rows: dict[str, Any] = {}
    for name, side in (("Ours", "ours"), ("`mlflow models serve`", "models_serve")):
        rows[f"{name}, {comparison[side]['rate']:g}/s"] = comparison[side]
        if held := comparison[side].get("held"):
            rows[f"{name}, {held['rate']:.0f}/s"] = held
    return (
        "## The same requests to `mlflow models serve`\n\n"
        f"The same model, {workers} workers each, no faults, the same time. A server that does not keep up with the\n"
        f"rate is asked once more at 80 % of what it kept up with.\n\n{_requests(rows)}"
    )


def _requests(rows: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "| | Requests | per s | Failed | In flight | Wrong | p50 ms | p95 ms | p99 ms | max ms |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in rows.items():
        rate = f"{row['per_second']:.1f}" if "per_second" in row else ""
        counts = " | ".join(str(row.get(key, "")) for key in ("failed", "in_flight", "wrong"))
        times = " | ".join(f"{row['milliseconds'].get(key, float('nan')):.1f}" for key in ("p50", "p95", "p99", "max"))
        lines.append(f"| {name} | {row['requests']:,} | {rate} | {counts} | {times} |")
    return "\n".join(lines) + "\n"


def plot(document: Mapping[str, Any]) -> Figure:
    """Returns latency and memory over time, with the faults marked."""
    soak = document["soak"]
    figure, (latency, memory) = new_figure(14, 5.2, columns=2)
    seconds, middle, high, worst = zip(*soak["latency"], strict=True)
    latency.plot(seconds, worst, color=PALE, label="max")
    latency.plot(seconds, high, color=ORANGE, label="p99")
    latency.plot(seconds, middle, color=BLUE, label="p50")
    latency.set_yscale("log")
    latency.set_ylim(top=max(worst) * 20)  # room for the names of the faults
    latency.axhline(P99, color=GREY, linewidth=1, linestyle="--")
    set_titles(latency, "Time to an answer", "second", "milliseconds, log scale")
    for place, (name, curve) in enumerate(soak["memory"].items()):
        memory.plot(*zip(*curve, strict=True), color=COLOURS[place % len(COLOURS)], label=name)
    memory.set_ylim(bottom=0)
    set_titles(memory, "Resident memory", "second", "MB")
    for axis in (latency, memory):
        axis.grid(True, color=GRID)
        _mark(axis, soak["faults"])
        axis.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def _mark(axis: Any, faults: Sequence[Sequence[Any]]) -> None:
    for number, (_, start, end) in enumerate(faults, start=1):
        axis.axvspan(start, end, color=GREY, alpha=0.12, linewidth=0)
        axis.text(start, 1.0, str(number), transform=axis.get_xaxis_transform(), fontsize=9, color=INK, va="bottom")
    if axis.get_title(loc="left").startswith("Time"):
        names = "\n".join(f"{number}  {name}" for number, (name, _, _) in enumerate(faults, start=1))
        axis.text(0.01, 0.99, names, transform=axis.transAxes, fontsize=8, color=INK, va="top")
