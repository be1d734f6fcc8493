"""Training of the candidate-history network: log loss of every pair, sampled ones weighted to stand for the others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from training.evaluation.purchases import IntArray
from training.history_config import HistoryRankerConfig
from training.history_examples import Examples, Pairs
from training.models.history_network import HistoryNetwork, Scale, Scales

CLIP_NORM: Final = 5.0  # of the gradient
LAST_RATE: Final = 0.01  # of the first learning rate


def standardise(examples: Examples, clip: float) -> Scales:
    """Standardises all columns of the examples in place and returns how."""
    scales = Scales(
        *(
            Scale.of(table, clip)
            for table in (examples.seen.features, examples.new.features, examples.item, examples.house)
        )
    )
    scales.seen.apply(examples.seen.features)
    scales.new.apply(examples.new.features)
    scales.item.apply(examples.item)
    scales.house.apply(examples.house)
    return scales


@dataclass(frozen=True, eq=False)
class _Step:
    """One step of Adam on a batch of lists."""

    network: HistoryNetwork
    optimizer: Any
    config: HistoryRankerConfig
    targets: float  # bought pairs of a list on average: keeps the loss near 1 whatever the data

    def loss(self, seen: Any, seen_ids: Any, bought: Any, new: Any, new_bought: Any, weight: Any, lists: Any) -> Any:
        """Returns log loss of a batch plus the penalties."""
        of_seen = tf.nn.sigmoid_cross_entropy_with_logits(bought, self.network.seen(seen, seen_ids))
        of_new = tf.nn.sigmoid_cross_entropy_with_logits(new_bought, self.network.new(new))
        loss = (tf.reduce_sum(of_seen) + tf.reduce_sum(of_new * weight)) / (lists * self.targets)
        kernels = [kernel for head in self.network.heads for kernel in head.kernels()]
        loss += self.config.kernel_l2 * tf.add_n([tf.reduce_sum(tf.square(kernel)) for kernel in kernels])
        return loss + self.config.bias_l2 * tf.reduce_sum(tf.square(self.network.item_bias))

    def function(self) -> Callable[..., Any]:
        """Returns the compiled step."""

        @tf.function(reduce_retracing=True)
        def step(*batch: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = self.loss(*batch)
            variables = self.network.trainable_variables
            # The gradient of the biases comes as slices; as a table Adam moves every one of them by its penalty.
            gradients = [tf.convert_to_tensor(each) for each in tape.gradient(loss, variables)]
            gradients, _ = tf.clip_by_global_norm(gradients, CLIP_NORM)
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
            return loss

        return step


def train_network(
    examples: Examples,
    num_items: int,
    config: HistoryRankerConfig,
    seed: int,
    progress: bool = False,
    on_step: Callable[[int, int], Any] | None = None,
) -> HistoryNetwork:
    """Trains one network on standardised examples.

    Args:
        examples: From `make_examples`, after `standardise`.
        num_items: Ids of the vocabulary, I + 1.
        config: Settings.
        seed: Seed of the kernels and of the order of examples.
        progress: Whether to show a bar.
        on_step: Called after each step with the number of steps done and of all steps.
    """
    rng = np.random.default_rng(seed)
    shared = examples.item.shape[1] + examples.house.shape[1]
    widths = (examples.seen.features.shape[1] + shared, examples.new.features.shape[1] + shared)
    network = HistoryNetwork(num_items, widths, config.hidden, seed)
    total = num_steps(examples.num_lists, config)
    rate: Any = keras.optimizers.schedules.CosineDecay(config.learning_rate, total, alpha=LAST_RATE)
    optimizer = keras.optimizers.Adam(rate)
    targets = float(examples.seen.bought.sum() + examples.new.bought.sum()) / examples.num_lists
    step = _Step(network, optimizer, config, max(targets, 1e-6)).function()
    done = 0
    with tqdm(total=total, desc=f"network of seed {seed}", unit="step", disable=not progress) as bar:
        for _ in range(config.epochs):
            losses: list[Any] = []
            for lists in _batches(examples.num_lists, config.batch_size, rng):
                losses.append(step(*_batch(examples, lists, num_items)))
                done += 1
                bar.update()
                if on_step is not None:
                    on_step(done, total)
            bar.set_postfix(loss=f"{float(np.mean([float(loss) for loss in losses])):.4f}")
    return network


def num_steps(lists: int, config: HistoryRankerConfig) -> int:
    """Returns the steps of one network."""
    return config.epochs * -(-lists // config.batch_size)


def _batches(lists: int, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    order = rng.permutation(lists)
    yield from (np.sort(order[start : start + size]) for start in range(0, lists, size))


def _batch(examples: Examples, lists: IntArray, num_items: int) -> tuple[Any, ...]:
    """Returns the arguments of `_Step.loss`."""
    seen, seen_rows = _inputs(examples.seen, examples, lists)
    new, new_rows = _inputs(examples.new, examples, lists)
    arrays = (
        seen,
        (examples.seen.item[seen_rows] % num_items).astype(np.int32),
        examples.seen.bought[seen_rows],
        new,
        examples.new.bought[new_rows],
        examples.new.weight[new_rows],
        np.float32(len(lists)),
    )
    return tuple(tf.convert_to_tensor(array) for array in arrays)


def _inputs(pairs: Pairs, examples: Examples, lists: IntArray) -> tuple[Any, IntArray]:
    """Returns (N, F) features of all families for the pairs of some lists, and their rows."""
    counts = pairs.starts[lists + 1] - pairs.starts[lists]
    offsets = np.repeat(pairs.starts[lists] - (np.cumsum(counts) - counts), counts)
    rows = np.arange(counts.sum()) + offsets
    parts = (pairs.features[rows], examples.item[pairs.item[rows]], np.repeat(examples.house[lists], counts, axis=0))
    return np.concatenate(parts, axis=1), rows
