"""Loads what recommenders' `SLI_RECModel` saved, so that its scores can be had from this network."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from training.config import ModelConfig
from training.models.slirec import SliRec

_SLIREC = "sequential/sli_rec/"
_CELL = _SLIREC + "rnn/time4lstm/time4lstm_cell/"
_ATTENTION = _SLIREC + "attention_fcn/attention_fcn/"
# Path of our weight -> name in the checkpoint; the LSTM kernel and the fully connected networks are handled apart.
_NAMES = {
    "item_embedding/embeddings": "sequential/embedding/item_embedding",
    "cate_embedding/embeddings": "sequential/embedding/cate_embedding",
    "long_term/attention_mat": _SLIREC + "long_term_asvd/attention_mat",
    "long_term/query": _SLIREC + "long_term_asvd/query",
    "time_lstm/bias": _CELL + "bias",
    "target_attention/attention_mat": _ATTENTION + "attention_mat",
} | {
    f"time_lstm/{side}_{ours}": _CELL + theirs + number
    for side, number in (("now", "1"), ("last", "2"))
    for ours, theirs in (
        ("input_weight", "_time_input_w"),
        ("input_bias", "_time_input_bias"),
        ("kernel", "_time_kernel_w"),
        ("time_kernel", "_time_kernel_t"),
        ("bias", "_time_bias"),
        ("output_kernel", "_o_kernel_t"),
    )
}
_NETWORKS = {
    "target_attention/network": _ATTENTION + "att_fcn",
    "fusion": _SLIREC + "fcn_alpha",
    "prediction": "sequential/logit_fcn",
}


class CheckpointError(ValueError):
    """A checkpoint that does not fit the network."""


def load_recommenders_checkpoint(
    path: str | os.PathLike[str], config: ModelConfig, item_category: np.ndarray
) -> SliRec:
    """Builds the network from a checkpoint of recommenders' `SLI_RECModel`.

    Args:
        path: Checkpoint prefix, e.g. `MODEL_DIR/best_model`.
        config: Sizes it was trained with. `recommenders_compatible` is switched on: its scores need both habits.
        item_category: (num_items,) int32 category id of each item id, in the checkpoint's vocabularies (0 = unknown).

    Returns:
        The network; same inputs give the same scores.

    Raises:
        CheckpointError: A weight is missing or has another shape; the message names it.
    """
    reader = tf.train.load_checkpoint(os.fspath(path))
    shapes = reader.get_variable_to_shape_map()

    def read(name: str) -> np.ndarray:
        if name not in shapes:
            raise CheckpointError(f"{path} should hold a weight {name}: is it a checkpoint of SLI_RECModel?")
        return np.asarray(reader.get_tensor(name))

    config = config.model_copy(update={"recommenders_compatible": True})
    num_categories = read("sequential/embedding/cate_embedding").shape[0]
    model = SliRec(config, item_category, num_categories)
    ours = {weight.path: weight for weight in model.weights}
    for target, value in _values(read, config):
        expected = tuple(ours[target].shape)
        if value.shape != expected:
            raise CheckpointError(
                f"{target} should have shape {expected}, as the configuration and vocabularies say. "
                f"The checkpoint {path} has {value.shape}"
            )
        ours[target].assign(value)
    return model


def _values(read: Any, config: ModelConfig) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (path of our weight, value) for every weight but the item -> category table."""
    for target, name in _NAMES.items():
        yield target, read(name)
    # TF1 cells keep input and recurrent kernels in one matrix, inputs first.
    kernel = read(_CELL + "kernel")
    yield "time_lstm/kernel", kernel[: config.item_embedding_dim]
    yield "time_lstm/loop/step/recurrent_kernel", kernel[config.item_embedding_dim :]
    for target, name in _NETWORKS.items():
        sizes = config.layer_sizes if target == "prediction" else config.att_fcn_layer_sizes
        part = name + "/nn_part"
        for i, _ in enumerate(sizes):
            yield f"{target}/dense_{i}/kernel", read(f"{part}/w_nn_layer{i}")
            yield f"{target}/dense_{i}/bias", read(f"{part}/b_nn_layer{i}")
            if config.enable_BN:
                norm = f"{part}/batch_normalization" + (f"_{i}" if i else "")
                for statistic in ("gamma", "beta", "moving_mean", "moving_variance"):
                    yield f"{target}/norm_{i}/{statistic}", read(f"{norm}/{statistic}")
        yield f"{target}/output/kernel", read(f"{part}/w_nn_output")
        yield f"{target}/output/bias", read(f"{part}/b_nn_output")
