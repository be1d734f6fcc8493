"""One optimisation step of SLi-Rec: loss, regularisation, gradients; on one device or several."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from training.config import TrainingConfig
from training.losses import make_loss
from training.models.slirec import SliRec


class TrainingStep:
    """Changes a network by one batch at a time. It is traced once, at the first batch, for all sizes and lengths.

    Args:
        model: The network.
        optimizer: Built for its trainable variables.
        strategy: tf.distribute strategy that both were made under.
        config: Loss, regularisation and whether to compile.
    """

    def __init__(self, model: SliRec, optimizer: Any, strategy: Any, config: TrainingConfig):
        self.model = model
        self.optimizer = optimizer
        self.strategy = strategy
        self.config = config
        self._loss = make_loss(config.train, model.num_items - 1)
        self._layer_weights = [
            weight for weight in model.trainable_variables if not weight.path.endswith("_embedding/embeddings")
        ]
        self._concrete: Any = None

    def __call__(self, batch: Mapping[str, Any]) -> Any:
        """Takes one step and returns the summed data loss of the rows.

        Args:
            batch: Tensors as `training.data.batches.training_batches` names them, the same names at every step.
        """
        if self._concrete is None:
            signature = {name: tf.TensorSpec([None] * len(array.shape), array.dtype) for name, array in batch.items()}
            traced: Any = tf.function(
                self._on_devices, input_signature=[signature], jit_compile=self.config.device.jit_compile
            )
            # A concrete function is called with less ado than one that may trace anew.
            self._concrete = traced.get_concrete_function()
        return self._concrete(batch)

    def _on_devices(self, batch: dict[str, Any]) -> Any:
        losses = self.strategy.run(self._on_one, args=(batch,))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def _on_one(self, batch: dict[str, Any]) -> Any:
        """One optimisation step on one device's share of the rows; returns the share's summed data loss."""
        rows, replicas = tf.shape(batch["length"])[0], self.strategy.num_replicas_in_sync
        batch_size = tf.cast(rows, tf.float32)
        if replicas > 1:
            replica: Any = tf.distribute.get_replica_context().replica_id_in_sync_group
            start, end = rows * replica // replicas, rows * (replica + 1) // replicas
            batch = {name: array[start:end] for name, array in batch.items()}
        with tf.GradientTape() as tape:
            logits, candidates = self._logits(batch)
            data_loss = tf.reduce_sum(self._loss(logits))
            loss = data_loss / batch_size + self._regularisation({**batch, "candidates": candidates}) / replicas
            scaled = self.optimizer.scale_loss(loss)
        variables = self.model.trainable_variables
        gradients: list[Any] = tape.gradient(scaled, variables)
        # None for a bias before batch normalisation, which nothing depends on once it has no L2.
        pairs = [
            (tf.zeros_like(variable) if gradient is None else gradient, variable)
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        self.optimizer.apply_gradients(pairs)
        return data_loss

    def _logits(self, batch: dict[str, Any]) -> tuple[Any, Any]:
        """Returns the corrected logits (B, C), the positive first, and the candidates (B, C), hard ones last."""
        if "pool" not in batch:
            return self.model(batch, training=True) + batch["correction"], batch["candidates"]
        state = self.model.encode(batch, training=True)
        hard = hardest(tf.stop_gradient(self.model.score(state, batch["pool"])), batch["pool"], self._num_hard)
        candidates = tf.concat([batch["candidates"], hard], axis=1)
        logits = self.model.score(state, candidates, training=True)
        return logits + tf.pad(batch["correction"], [[0, 0], [0, self._num_hard]]), candidates

    @property
    def _num_hard(self) -> int:
        return self.config.train.hard_num_ngs

    def _regularisation(self, batch: dict[str, Any]) -> Any:
        """L2 as in recommenders: embeddings that occur in the batch, each once, and all other weights."""
        train = self.config.train
        loss = tf.constant(0.0)
        if train.layer_l2:
            loss += train.layer_l2 * tf.add_n([tf.nn.l2_loss(weight) for weight in self._layer_weights])
        if train.embed_l2:
            for layer, used in self.model.used_embeddings(batch):
                # A flag for each row instead of tf.unique, which XLA cannot compile.
                table = tf.convert_to_tensor(layer.embeddings)
                flags = tf.math.unsorted_segment_max(tf.ones_like(used, table.dtype), used, tf.shape(table)[0])
                flags = tf.maximum(flags, 0.0)
                loss += train.embed_l2 * 0.5 * tf.reduce_sum(tf.reduce_sum(table * table, axis=1) * flags)
        return loss


def hardest(scores: Any, pool: Any, count: int) -> Any:
    """Returns (B, count) of the pool's items that score highest, an item drawn twice once if there are enough others.

    Dynamic negative sampling: Zhang, Chen, Wang and Yu, Optimizing top-N collaborative filtering via dynamic negative
    item sampling, SIGIR 2013, section 3. The network itself scores the pool: a product of embeddings would not say what
    it ranks high, because its scores come out of a network of their own.

    Args:
        scores: (B, P) scores of the pool.
        pool: (B, P) int32 item ids.
        count: Items to choose, at most P.
    """
    size = tf.shape(pool)[1]
    earlier = tf.range(size)[None, :] < tf.range(size)[:, None]  # (P, P)
    repeated = tf.reduce_any((pool[:, :, None] == pool[:, None, :]) & earlier, axis=2)
    scores = tf.where(repeated, tf.fill(tf.shape(scores), scores.dtype.min), scores)
    return tf.gather(pool, tf.math.top_k(scores, count).indices, batch_dims=1)
