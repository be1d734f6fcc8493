"""The evaluation command on generated interactions, with and without a network and the oracle."""

import json
from pathlib import Path

import pytest

import training
from scripts.ml import evaluate, generate_interactions
from training.data.interactions import read_interactions
from training.data.sequences import build_dataset, load_dataset

INVENTORY = str(Path(training.__file__).parent / "inventory.pkl")
BASELINES = [
    "popularity",
    "recent popularity",
    "own frequency",
    "own frequency, basket decay",
    "last-item Markov",
    "decayed Markov mix",
    "item-kNN (SAR)",
    "EASE",
    "TIFU-kNN",
    "own frequency, basket decay + EASE",
]
PNG = b"\x89PNG"


def generated(path, users):
    tsv = str(path / "interactions.tsv")
    assert generate_interactions.main([INVENTORY, tsv, "--users", str(users), "--days", "60"]) == 0
    build_dataset(read_interactions(tsv, "pandas"), path / "dataset")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return generated(tmp_path_factory.mktemp("evaluate"), 150)


@pytest.fixture
def elsewhere(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no default run or oracle is
    return folder


def read(output):
    return json.loads((output / "evaluation.json").read_text(encoding="utf-8"))


def test_baselines_alone(elsewhere, tmp_path, capsys):
    assert evaluate.main([str(elsewhere / "dataset"), "--output", str(tmp_path / "out"), "--split", "valid"]) == 0
    shown = capsys.readouterr()
    assert "no training run" in shown.err and "SAMPLED" in shown.out and "Share of the oracle" not in shown.out
    document = read(tmp_path / "out")
    assert list(document["full_ranking"]["seen_out"]) == list(document["sampled"]) == BASELINES
    assert document["split"] == "valid" and document["num_sampled_negatives"] == 4


def test_the_oracle_is_not_beaten(elsewhere, tmp_path):
    out = tmp_path / "out"
    arguments = [str(elsewhere / "dataset"), "--oracle", str(elsewhere / "interactions.oracle.npz")]
    assert evaluate.main([*arguments, "--output", str(out)]) == 0
    document = read(out)
    assert document["num_test_rows"] == document["num_rows"]["seen_in"] > document["num_rows"]["seen_out"] > 0
    for table in document["full_ranking"].values():
        assert max(table, key=lambda method: table[method]["NDCG@10"]) == "oracle"
        assert all(0 <= value <= 1 for row in table.values() for value in row.values())
    assert 0 < document["share_of_oracle"]["seen_out"]["decayed Markov mix"] < 1
    pictures = sorted(path.name for path in out.glob("*.png"))
    assert pictures == [
        f"{kind}_seen_{seen}.png" for kind in ("comparison", "history_length") for seen in ("in", "out")
    ]
    assert all((out / name).read_bytes().startswith(PNG) for name in pictures)
    assert not list(out.glob(".*"))  # no temporary file is left
    again = tmp_path / "again"
    assert evaluate.main([*arguments, "--output", str(again)]) == 0
    assert read(again) == document


def test_the_full_report(elsewhere, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [str(elsewhere / "dataset"), "--output", str(out), "--report"]
    assert evaluate.main([*arguments, "--oracle", str(elsewhere / "interactions.oracle.npz")]) == 0
    document = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert document["deploy"] in BASELINES and document["protocol"] == "seen_out"  # as the service recommends
    assert document["evaluation"] == read(out) and "popularity" in document["calibration"]
    said = f"Deploy {document['deploy']}."
    assert said in capsys.readouterr().out and said in (out / "report.md").read_text(encoding="utf-8")
    html = (out / "report.html").read_text(encoding="utf-8")
    assert said in html and html.count("data:image/png;base64,") == 13 and "https:" not in html
    assert not list(out.glob(".*"))


def test_an_oracle_of_other_interactions(elsewhere, tmp_path, capsys):
    other = tmp_path / "data" / "interactions.tsv"
    assert generate_interactions.main([INVENTORY, str(other), "--users", "150", "--days", "60", "--seed", "1"]) == 0
    arguments = [str(elsewhere / "dataset"), "--output", str(tmp_path / "out")]
    assert evaluate.main(arguments) == 0  # found by default: left out, with a word
    assert "which is of other interactions" in capsys.readouterr().err
    assert "oracle" not in read(tmp_path / "out")["sampled"]
    assert evaluate.main([*arguments, "--oracle", "data/interactions.oracle.npz"]) == 1  # asked for: an error
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


def test_a_run_before_and_after_training(tmp_path, monkeypatch):
    from training.config import TrainingConfig
    from training.trainer import train  # TensorFlow, for this test only

    monkeypatch.chdir(tmp_path)
    dataset = str(generated(tmp_path, 30) / "dataset")
    small = {
        "item_embedding_dim": 6,
        "cate_embedding_dim": 2,
        "hidden_size": 8,
        "attention_size": 8,
        "att_fcn_layer_sizes": [8],
        "layer_sizes": [8],
    }
    small |= {"activation": ["relu"], "dropout": [0.0]}
    config = TrainingConfig().replaced(data={"max_seq_length": 10}, model=small, train={"epochs": 1})
    history = train(load_dataset(dataset), config, tmp_path / "run", progress=False).history
    out = tmp_path / "out"
    arguments = [dataset, "--run", str(tmp_path / "run"), "--output", str(out)]
    assert evaluate.main(arguments) == 0
    document = read(out)
    assert list(document["sampled"]) == [*BASELINES, "SLi-Rec before training", "SLi-Rec"]
    assert "logloss" in document["sampled"]["SLi-Rec"] and "logloss" not in document["sampled"]["EASE"]
    assert document["sampled"]["SLi-Rec"] != document["sampled"]["SLi-Rec before training"]
    for protocol in ("seen_out", "seen_in"):
        assert set(document["lead_over_best_baseline"][protocol]) == {"SLi-Rec before training", "SLi-Rec"}
    assert (out / "training_curves.png").read_bytes().startswith(PNG)
    assert evaluate.main([*arguments, "--split", "valid"]) == 0
    assert read(out)["full_ranking"]["seen_out"]["SLi-Rec"]["NDCG@10"] == pytest.approx(
        history[0]["valid/seen_out/NDCG@10"], abs=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere"),
        (["{dataset}", "--run", "no-run"], "no-run does not exist; leave the option out"),
        (["{dataset}", "--oracle", "no.npz"], "no.npz does not exist; leave the option out"),
        (["{dataset}", "--batch-size", "0"], "batch_size = 0"),
    ],
)
def test_what_is_missing_is_one_line_and_status_1(elsewhere, capsys, arguments, message):
    assert evaluate.main([part.replace("{dataset}", str(elsewhere / "dataset")) for part in arguments]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and message in last and "Traceback" not in last


def test_no_target_that_is_new_to_its_shopper(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    events = [(f"u{user}", f"p{event % 2}", event) for user in range(4) for event in range(6)]
    events += [(f"short{item}", f"p{item}", 0) for item in range(14)]  # other products, for the negatives
    lines = [f"1\t{user}\t{item}\t{1_700_000_000 + 60 * event}\tc\n" for user, item, event in events]
    (tmp_path / "interactions.tsv").write_text("".join(lines), encoding="utf-8")
    build_dataset(read_interactions(tmp_path / "interactions.tsv", "pandas"), tmp_path / "dataset")
    assert evaluate.main([str(tmp_path / "dataset")]) == 1
    assert "should hold at least one row" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
