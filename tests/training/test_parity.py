"""Same weights in, same scores out: this network against recommenders' own SLi-Rec."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from small_data import small_dataset

from training.config import ModelConfig
from training.data.amazon_format import write_amazon_files
from training.data.batches import history_window
from training.models.onnx_graphs import export_graphs
from training.models.recommenders_checkpoint import CheckpointError, load_recommenders_checkpoint

SPLITS = ("valid", "test")
REFERENCE = Path(__file__).with_name("reference_slirec.py")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The data set, the reference's logits (rows, 1 + negatives) by split, and its checkpoint."""
    folder = tmp_path_factory.mktemp("parity")
    dataset = small_dataset(folder / "dataset")
    write_amazon_files(dataset, folder / "amazon", ids="dataset")
    environment = os.environ | {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, str(REFERENCE), str(folder / "amazon"), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    logits = {split: np.load(folder / f"{split}.npy").reshape(len(dataset.rows(split)), -1) for split in SPLITS}
    return dataset, logits, folder / "model" / "best_model"


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def test_keras_and_onnx_give_the_scores_of_recommenders(trained):
    dataset, logits, checkpoint = trained
    model = load_recommenders_checkpoint(checkpoint, ModelConfig(), dataset.item_category)
    graphs = export_graphs(model)
    sessions = {name: onnxruntime.InferenceSession(graph.SerializeToString()) for name, graph in graphs.items()}

    def run(graph, feeds):
        names = [output.name for output in sessions[graph].get_outputs()]
        return dict(zip(names, sessions[graph].run(names, feeds), strict=True))

    lengths = set()
    for split in SPLITS:
        rows, reference = dataset.rows(split), logits[split]
        lengths |= set(dataset.position[rows].tolist())
        assert reference.std() > 0.1  # else agreement would mean nothing
        window = history_window(dataset, rows, 50, pad_to=50)
        candidates = np.concatenate([dataset.item[rows][:, None], dataset.negatives[split]], axis=1).astype(np.int32)
        ours = np.asarray(model.score(model.encode(window.as_inputs()), candidates))
        np.testing.assert_allclose(sigmoid(ours), sigmoid(reference), atol=1e-5, rtol=0)
        np.testing.assert_allclose(ours, reference, atol=1e-4, rtol=1e-4)
        for row in range(len(rows)):  # one shopper at a time, as serving does
            state = run("encode", {name: value[row : row + 1] for name, value in window.as_inputs().items()})
            state = {name: value[0] for name, value in state.items()}
            scores = run("score", state | run("candidates", {"items": candidates[row]}))["scores"]
            np.testing.assert_allclose(sigmoid(scores), sigmoid(reference[row]), atol=1e-5, rtol=0)
    assert lengths == set(range(1, 61))


def test_a_checkpoint_of_other_sizes_is_refused(trained):
    dataset, _, checkpoint = trained
    with pytest.raises(CheckpointError, match=r"item_embedding/embeddings should have shape \(\d+, 24\)"):
        config = ModelConfig(item_embedding_dim=24, cate_embedding_dim=16)
        load_recommenders_checkpoint(checkpoint, config, dataset.item_category)
    with pytest.raises(CheckpointError, match="item_embedding/embeddings should have shape"):
        load_recommenders_checkpoint(checkpoint, ModelConfig(), dataset.item_category[:-1])
