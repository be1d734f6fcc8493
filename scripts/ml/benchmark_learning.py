"""Parts of the benchmark: preprocessing, training, evaluation."""

from collections.abc import Callable
from typing import Any

from scripts.ml.benchmark_context import Context, Scale, batch_size
from scripts.ml.benchmark_data import (
    CONFIG,
    SEQUENCE_LENGTH,
    make_training_data,
    reference_settings,
    write_interactions_file,
    write_reference_tables,
)
from scripts.ml.benchmark_flops import Sizes, rank_flops, step_flops
from scripts.ml.benchmark_rows import Row
from scripts.ml.benchmark_worker import SETTLING_STEPS

Step = Callable[[str], None]
SIZES = Sizes.of(CONFIG.model)
FEW_INTERACTIONS = 1_000  # preprocessed first, so that no time is that of loading libraries
FEW_NOTE = f"ours after the command has done {FEW_INTERACTIONS:,}: loading libraries is not part of the time"
OUR_EPOCHS = 3  # to one of the reference: so short that a disturbance would decide about a single one
CANDIDATES = 1 + CONFIG.train.train_num_ngs


def preprocessing(context: Context, step: Step) -> dict[str, Any]:
    """Interactions to training data: three sizes of ours, the reference on the middle one."""
    scale, rows = context.scale, []
    peaks: dict[str, list[float]] = {"ours": [], "reference": []}
    functions: dict[str, float] = {}
    few = context.work / "few_interactions.tsv"
    write_interactions_file(context.inventory, FEW_INTERACTIONS, few)
    for size in scale.interactions:
        folder = context.work / f"interactions_{size}"
        text = folder / "interactions.tsv"
        step(f"generating {size:,} interactions")
        write_interactions_file(context.inventory, size, text)
        compared = size == scale.interactions[1]
        seconds: dict[str, list[float]] = {"ours": [], "reference": []}
        for number in range(min(3, scale.repeats)):
            step(f"{size:,} interactions, ours")
            with context.serving() as ours:
                ours.call("preprocess", interactions=str(few), output=str(folder / "dataset"))
                result = ours.call("preprocess", interactions=str(text), output=str(folder / "dataset"))
            seconds["ours"].append(result["seconds"])
            if compared:
                peaks["ours"].append(result["peak"])
            if compared and number == 0:
                step(f"{size:,} interactions, reference")
                write_reference_tables(text, folder / "reference")
                data = CONFIG.data
                with context.reference() as reference:
                    result = reference.call(
                        "preprocess",
                        folder=str(folder / "reference"),
                        valid_negatives=data.valid_num_ngs,
                        test_negatives=data.test_num_ngs,
                    )
                functions = result["seconds"]
                seconds["reference"].append(sum(functions.values()))
                peaks["reference"].append(result["peak"])
        task = f"Preprocessing {size:,} interactions"
        note = FEW_NOTE if compared else ""
        rows.append(Row(task, "seconds", **seconds, count=size, unit="interactions", headline=compared, note=note))
    rows.append(Row(f"Peak memory, {scale.interactions[1]:,} interactions", "bytes", **peaks))
    return {"rows": rows, "reference_functions": functions}


def large(context: Context, step: Step) -> dict[str, Any]:
    """Preprocessing of more interactions than the reference can do, once."""
    size = context.scale.large
    folder = context.work / f"interactions_{size}"
    step(f"generating {size:,} interactions")
    write_interactions_file(context.inventory, size, folder / "interactions.tsv")
    step(f"{size:,} interactions, ours")
    with context.serving() as ours:
        result = ours.call("preprocess", interactions=str(folder / "interactions.tsv"), output=str(folder / "dataset"))
    return {
        "rows": [
            Row(
                f"Preprocessing {size:,} interactions", "seconds", [result["seconds"]], count=size, unit="interactions"
            ),
            Row(f"Peak memory, {size:,} interactions", "bytes", [result["peak"]]),
        ]
    }


def training(context: Context, step: Step) -> dict[str, Any]:
    """Step and epoch in alternation, time spent waiting for data, and the loss over the epochs."""
    step("generating training data")
    scale, folder = context.scale, context.training_data()
    steps: dict[str, list[float]] = {"ours": [], "reference": []}
    epochs: dict[str, list[dict[str, Any]]] = {"ours": [], "reference": []}
    memory: dict[str, list[float]] = {}
    with context.reference() as reference, context.ours() as ours:
        step("building both models")
        reference.call("build", folder=str(folder / "amazon"), settings=reference_settings(CONFIG))
        ours.call("build", dataset=str(folder / "dataset"), run=str(folder / "run"))
        for epoch in range(1, scale.epochs + 1):
            step(f"epoch {epoch}, reference")
            epochs["reference"].append(reference.call("train_epoch"))
            for turn in range(OUR_EPOCHS):
                step(f"epoch {epoch}, ours, {turn + 1} of {OUR_EPOCHS}")
                epochs["ours"].append(ours.call("train_epoch", number=(epoch - 1) * OUR_EPOCHS + turn + 1))
        reference.call("save", path=str(folder / "checkpoint" / "model"))
        for number in range(scale.repeats):
            step(f"steps {number + 1}")
            steps["reference"] += reference.call("train_steps", split="full", repeats=1)
            steps["ours"] += ours.call("train_steps", repeats=1)
        for name, worker in (("reference", reference), ("ours", ours)):
            memory[name] = [worker.call("memory")["peak"]]
        length = ours.call("mean_length")
    curves: list[list[float]] = []
    for seed in range(scale.seeds):
        step(f"loss curve, seed {seed + 1}")
        with context.ours() as ours:
            curves.append(
                ours.call(
                    "loss_curve",
                    dataset=str(folder / "dataset"),
                    run=str(folder / f"run_{seed}"),
                    epochs=scale.epochs,
                    seed=seed + 1,
                )
            )
    batch = f"{batch_size()} positives x {CANDIDATES} candidates x {SEQUENCE_LENGTH} events"
    examples = epochs["ours"][0]["examples"]
    return {
        "rows": _training_rows(scale, batch, steps, epochs, length, memory),
        "loss": {"reference": [loss for epoch in epochs["reference"] for loss in epoch["losses"]], "ours": curves},
        "examples": examples,
    }


def _training_rows(
    scale: Scale,
    batch: str,
    steps: dict[str, list[float]],
    epochs: dict[str, list[dict[str, Any]]],
    length: float,
    memory: dict[str, list[float]],
) -> list[Row]:
    sides = ("ours", "reference")
    examples = epochs["ours"][0]["examples"]
    return [
        Row(
            f"Training step, {batch}",
            "seconds",
            **steps,
            operations=step_flops(SIZES, SEQUENCE_LENGTH, batch_size(), CANDIDATES),
            count=batch_size(),
            unit="examples",
            headline=True,
        ),
        Row(
            f"Training epoch, {examples:,} examples of {length:.0f} events on average",
            "seconds",
            **{side: [epoch["seconds"] for epoch in epochs[side]] for side in sides},
            operations=step_flops(SIZES, length, examples, CANDIDATES),
            count=examples,
            unit="examples",
            headline=True,
            note=f"medians of {scale.epochs} epochs of the reference and {OUR_EPOCHS} of ours after each, all without "
            f"their first {SETTLING_STEPS} steps, in which a process that has waited finds its code and data again",
        ),
        Row(
            "Epoch: time spent waiting for data",
            "share",
            **{side: [epoch["waiting"] / epoch["seconds"] for epoch in epochs[side]] for side in sides},
        ),
        Row("Peak memory of training", "bytes", **memory),
    ]


def evaluation(context: Context, step: Step) -> dict[str, Any]:
    """The test rows of many shoppers: sampled protocol both, and full ranking ours on top."""
    scale, folder = context.scale, context.work / "evaluation"
    step("generating evaluation data")
    dataset = make_training_data(context.inventory, folder, users=scale.evaluated, events=42)
    seconds: dict[str, list[float]] = {"ours": [], "reference": []}
    with context.reference() as reference, context.ours() as ours:
        step("building both models")
        reference.call("build", folder=str(folder / "amazon"), settings=reference_settings(CONFIG))
        ours.call("build", dataset=str(folder / "dataset"), run=str(folder / "run"))
        for number in range(min(3, scale.repeats)):
            step(f"evaluation {number + 1}, reference")
            seconds["reference"].append(reference.call("evaluate", split="test", negatives=9)["seconds"])
            step(f"evaluation {number + 1}, ours")
            seconds["ours"].append(ours.call("evaluate", split="test")["seconds"])
    rows = dataset.rows("test")
    lengths = [min(int(position), SEQUENCE_LENGTH) for position in dataset.position[rows]]
    return {
        "rows": [
            Row(
                f"Evaluating {len(rows):,} shoppers",
                "seconds",
                **seconds,
                operations=sum(rank_flops(SIZES, length, dataset.num_items - 1) for length in lengths),
                count=len(rows),
                unit="shoppers",
                headline=True,
                note=f"the reference scores 10 sampled products a shopper; ours all {dataset.num_items - 1}, which "
                "gives full ranking with and without seen items, and the sampled figures",
            )
        ]
    }
