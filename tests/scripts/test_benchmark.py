"""The benchmark counts, compares, stores and reports as it says; how fast anything is, is not tested."""

import json

import pytest

from scripts.ml.benchmark import main
from scripts.ml.benchmark_context import QUICK, Context
from scripts.ml.benchmark_data import (
    CONFIG,
    make_catalogue,
    make_requests,
    reference_settings,
    write_interactions_file,
    write_reference_tables,
)
from scripts.ml.benchmark_flops import Sizes, encode_flops, rank_flops, score_flops, step_flops
from scripts.ml.benchmark_report import bytes_text, markdown, plot, seconds_text, table
from scripts.ml.benchmark_rows import Row, load_document, store_part
from scripts.ml.benchmark_worker import REPOSITORY, Worker, WorkerError
from training.data.sequences import load_dataset

INVENTORY = REPOSITORY / "training" / "inventory.pkl"
SMALL = Sizes(event=3, item=2, hidden=3, attention=(5, 4), prediction=(2,))
MACHINE = {
    "cores": 2,
    "memory_gb": 4.0,
    "processor": "a processor",
    "system": "Linux",
    "python": "3.11.7",
    "versions": {"recommenders": "1.2.1"},
}


def test_operations_are_counted_layer_by_layer():
    # gates 4*3*(2+3), time gates 2*(2*3 + 2*3*3), keys 3*3 + 3*5, long term 2*3
    assert encode_flops(SMALL, 1) == 2 * (60 + 48 + 24 + 6)
    assert encode_flops(SMALL, 7) == 7 * encode_flops(SMALL, 1)
    # pair and event: attention 3*5 + 5*4 + 4 and the weighted sum 3; pair: gate 3*5 + 5*4 + 4, prediction 3*2 + 2;
    # candidate: 3*5 + 3*5 + 3*2; once: long-term taste and time in the gate 4*5
    assert score_flops(SMALL, 1, 1, prepared=False) == 2 * (42 + 39 + 8 + 36 + 20)
    assert score_flops(SMALL, 4, 6, prepared=True) == 2 * (6 * (4 * 42 + 39 + 8) + 20)
    assert rank_flops(SMALL, 4, 6) == encode_flops(SMALL, 4) + score_flops(SMALL, 4, 6, prepared=True)
    assert step_flops(SMALL, 4, 10, 5) == 3 * 10 * rank_flops(SMALL, 4, 5, prepared=False)
    assert step_flops(SMALL, 3.5, 10, 5) == (step_flops(SMALL, 3, 10, 5) + step_flops(SMALL, 4, 10, 5)) // 2


def test_a_row_compares_medians():
    document = Row("task", "seconds", [0.2, 0.1, 9.0], [1.0, 3.0], count=50, unit="examples").document()
    assert (document["ours_median"], document["reference_median"]) == (0.2, 2.0)
    assert document["ratio"] == pytest.approx(10)
    assert (document["ours_per_second"], document["reference_per_second"]) == (250, 25)
    alone = Row("memory", "bytes", [1e6]).document()
    assert [alone[name] for name in ("reference_median", "ratio", "ours_per_second")] == [None] * 3
    assert Row("waiting", "share", [0.1], [0.2]).document()["ratio"] is None


def test_a_part_replaces_itself_and_all_floors_follow_from_the_best_rate(tmp_path):
    path = tmp_path / "benchmarks.json"

    def part(rate, seconds, operations=1e9):
        return {"rows": [Row("task", "seconds", [seconds], operations=operations).document()], "product_rate": rate}

    store_part(path, MACHINE, "training", part(1e10, 5.0))
    store_part(path, MACHINE, "serving", part(2e10, 0.2))
    document = store_part(path, MACHINE, "training", part(1e10, 0.5))
    assert document == load_document(path)
    rows = {name: part["rows"][0] for name, part in document["parts"].items()}
    assert {name: row["floor_seconds"] for name, row in rows.items()} == {"training": 0.05, "serving": 0.05}
    assert {name: row["share_of_floor"] for name, row in rows.items()} == {"training": 0.1, "serving": 0.25}
    document = store_part(path, MACHINE, "load", part(1e10, 1.0, operations=None))
    assert document["parts"]["load"]["rows"][0]["share_of_floor"] is None


def test_figures_of_another_machine_or_format_are_not_kept(tmp_path):
    path = tmp_path / "benchmarks.json"
    part = {"rows": [], "product_rate": 1.0}
    store_part(path, MACHINE, "training", part)
    assert store_part(path, MACHINE | {"cores": 64}, "serving", part)["parts"].keys() == {"serving"}
    path.write_text('{"format_version": 0, "parts": {"old": 1}}')
    assert load_document(path)["parts"] == {}


def test_the_report_shows_every_row_once_with_its_note(tmp_path):
    rows = [
        Row("Step", "seconds", [0.25], [1.0], operations=1e9, count=400, unit="examples", headline=True).document(),
        Row("Memory", "bytes", [2e8], [8e8], note="peak").document(),
    ]
    loss = {"reference": [1.6, 1.4, 1.2], "ours": [[1.6, 1.5, 1.3], [1.6, 1.4, 1.1]]}
    part = {"rows": rows, "date": "2030-01-01", "commit": "abc", "product_rate": 1e11, "loss": loss}
    document = store_part(tmp_path / "benchmarks.json", MACHINE, "training", part)
    text = markdown(document)
    assert "| Step | 1.00 s (400 examples/s) | 250 ms (1,600 examples/s) | 4.00 | 4% |" in text
    assert "| Memory (1) | 800 MB | 200 MB | 4.00 |  |" in text
    assert "(1) peak." in text
    assert "reference 1.200; ours 1.300, 1.100 (2 seeds)" in text
    bars, curve = plot(document).axes
    assert [label.get_text() for label in bars.get_yticklabels()] == ["Step"]
    assert len(curve.get_lines()) == 2
    assert table([]).startswith("| Task |")


@pytest.mark.parametrize(("seconds", "text"), [(123.4, "123 s"), (0.0123, "12.3 ms"), (0.00000456, "4.56 µs")])
def test_times_have_three_digits(seconds, text):
    assert seconds_text(seconds) == text


def test_sizes_have_three_digits():
    assert (bytes_text(1_234_000_000), bytes_text(1_500_000), bytes_text(1500)) == ("1,234 MB", "1.50 MB", "1.50 kB")


def test_both_sides_get_the_same_hyper_parameters():
    settings = reference_settings()
    for section in (CONFIG.model, CONFIG.train, CONFIG.data):
        for name in settings.keys() & section.model_dump().keys():
            value = getattr(section, name)
            assert settings[name] == (list(value) if isinstance(value, tuple) else value)
    assert settings["max_seq_length"] == 50


def test_training_knows_every_product_of_a_catalogue(tmp_path):
    dataset, inventory = make_catalogue(tmp_path, 130)
    assert dataset.vocabularies["item"].encode(inventory.handles).all()
    assert len(inventory.products) == 130
    (request, *_) = make_requests(inventory.handles, [50, 3])
    times = [int(time) for time in request["timestamps"]]
    assert len(set(request["items"])) == len(times) == 50
    assert times == sorted(times)


def test_both_sides_of_the_preprocessing_do_the_same_job(tmp_path):
    write_interactions_file(INVENTORY, 3000, tmp_path / "interactions.tsv")
    write_reference_tables(tmp_path / "interactions.tsv", tmp_path / "reference")
    context = Context(tmp_path, INVENTORY, QUICK)
    with context.reference() as reference, context.serving() as ours:
        theirs = reference.call("preprocess", folder=str(tmp_path / "reference"), valid_negatives=4, test_negatives=9)
        ours.call("preprocess", interactions=str(tmp_path / "interactions.tsv"), output=str(tmp_path / "dataset"))
        assert not ours.call("loaded", module="tensorflow")
    assert theirs["seconds"].keys() >= {"_create_instance", "_data_generating", "_negative_sampling_offline"}
    dataset = load_dataset(tmp_path / "dataset")

    def lines(split):
        return len((tmp_path / "reference" / f"{split}_data").read_text().splitlines())

    # Theirs also splits users with fewer than three events, so only the sum is the same.
    total = sum(len(dataset.rows(split)) for split in ("train", "valid", "test"))
    assert lines("train") + lines("valid") // 5 + lines("test") // 10 == total


def test_a_process_reports_its_failure_and_goes_on(tmp_path):
    with Worker("scripts.ml.benchmark_serving", tmp_path / "log") as worker:
        with pytest.raises(WorkerError, match="KeyError: 'nothing'"):
            worker.call("nothing")
        assert worker.call("memory")["peak"] > 1e6
        worker.close()
        with pytest.raises((WorkerError, ValueError)):
            worker.call("memory")


def test_the_command_writes_three_files_that_say_nothing_of_the_machine(tmp_path, capsys):
    output = tmp_path / "docs"
    assert main(["--quick", "--only", "large", "--output", str(output), "--work", str(tmp_path)]) == 0
    assert sorted(path.name for path in output.iterdir()) == ["benchmarks.json", "benchmarks.md", "benchmarks.png"]
    text = (output / "benchmarks.json").read_text()
    document = json.loads(text)
    (row, memory) = document["parts"]["large"]["rows"]
    assert row["count"] == QUICK.large
    assert memory["ours_median"] > 1e7
    assert str(tmp_path) not in text + (output / "benchmarks.md").read_text()
    assert str(REPOSITORY) not in text
    assert "benchmarks.md" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]  # the work folder is gone


def test_mistakes_are_one_line_and_an_exit_status(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--only", "everything"])
    assert "should be of training" in capsys.readouterr().err
    arguments = ["--quick", "--only", "large", "--output", str(tmp_path), "--inventory", str(tmp_path / "none.pkl")]
    assert main(arguments) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
