"""SLi-Rec: long- and short-term taste, fused for each candidate.

Zeping Yu, Jianxun Lian, Ahmad Mahmoody, Gongshen Liu, Xing Xie: Adaptive User Modeling with Long and Short-Term
Preferences for Personalized Recommendation, IJCAI 2019 ("the paper").
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from training.config import ModelConfig
from training.models.dense import FullyConnected
from training.models.layers import LongTermAttention, TargetAttention, TimeFeatures
from training.models.time_lstm import TimeLSTM

ops: Any = keras.ops  # Keras ships no usable types for its operations

HISTORY_INPUTS = ("items", "timestamps", "length", "first_timestamp", "now")
STATE_OUTPUTS = ("long_term", "hidden", "keys", "key_part", "mask", "last_time")


class SliRec(keras.Model):
    """The network in two halves: `encode` reads a history once, `score` reads its state and any candidates.

    Args:
        config: Sizes and switches.
        item_category: (num_items,) int32 category id of each item id; entry 0 is the unknown item.
        num_categories: Size of the category vocabulary, unknown included.
        init_value: Standard deviation of the truncated-normal start of all weights.
        seed: Seed of that start and of dropout.
    """

    def __init__(
        self,
        config: ModelConfig,
        item_category: np.ndarray,
        num_categories: int,
        init_value: float = 0.01,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(name=kwargs.pop("name", "slirec"), **kwargs)
        self.config = config
        self.num_items = len(item_category)
        self.num_categories = num_categories
        # One generator for all weights: an initializer with a plain seed would start equal shapes with equal values.
        start: Any = keras.initializers.TruncatedNormal(stddev=init_value, seed=keras.random.SeedGenerator(seed))

        def network(sizes: tuple[int, ...], name: str, place: int) -> FullyConnected:
            dropout_seed = seed + 100 * place
            return FullyConnected(
                sizes, config.activation, config.dropout, config.enable_BN, start, dropout_seed, name=name
            )

        self.item_category = self.add_weight(
            shape=(self.num_items,),
            dtype="int32",
            initializer=lambda shape, dtype: ops.convert_to_tensor(np.asarray(item_category), dtype),
            trainable=False,
            name="item_category",
        )
        self.item_embedding = keras.layers.Embedding(
            self.num_items, config.item_embedding_dim, start, name="item_embedding"
        )
        self.cate_embedding = keras.layers.Embedding(
            num_categories, config.cate_embedding_dim, start, name="cate_embedding"
        )
        self.time_features = TimeFeatures(name="time_features", dtype="float32")
        self.long_term = LongTermAttention(start, not config.recommenders_compatible, name="long_term")
        self.time_lstm = TimeLSTM(config.hidden_size, start, name="time_lstm")
        self.target_attention = TargetAttention(
            network(config.att_fcn_layer_sizes, "network", 1), start, name="target_attention"
        )
        self.fusion = network(config.att_fcn_layer_sizes, "fusion", 2)
        self.prediction = network(config.layer_sizes, "prediction", 3)
        self._build_all()

    def _build_all(self) -> None:
        width = self.config.embedding_dim
        self.item_embedding.build(None)
        self.cate_embedding.build(None)
        self.long_term.build((None, None, width))
        self.time_lstm.build((None, None, self.config.item_embedding_dim))
        self.target_attention.build((None, None, self.config.hidden_size))
        self.fusion.build((None, 3 * width + 1))
        self.prediction.build((None, 2 * width))
        self.built = True

    def _embed(self, items: Any) -> tuple[Any, Any]:
        """Returns the item embedding (..., item dim) and item with category (..., D)."""
        item = self.item_embedding(items)
        category = self.cate_embedding(ops.take(self.item_category, items, axis=0))
        return item, ops.concatenate([item, category], axis=-1)

    def encode(self, history: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Encodes histories, independently of any candidate (paper, sections 4.1 and 4.2).

        Args:
            history: `HISTORY_INPUTS`: items (B, T) int32 right-padded with 0, timestamps (B, T) int64 UNIX seconds,
                length (B,) int32, first_timestamp (B,) int64, now (B,) int64.
            training: Whether gradients will be wanted; the numbers are the same.

        Returns:
            `STATE_OUTPUTS`: long_term (B, D), hidden (B, T, H), keys (B, T, D), key_part (B, T, first layer),
            mask (B, T) float32, last_time (B, 1).
        """
        items, length = history["items"], history["length"]
        mask = ops.expand_dims(ops.arange(ops.shape(items)[1], dtype="int32"), 0) < ops.expand_dims(length, 1)
        item, events = self._embed(items)  # (B, T, item dim), (B, T, D)
        time_from_first, time_to_now = self.time_features(
            history["timestamps"], length, history["first_timestamp"], history["now"]
        )
        hidden = self.time_lstm(item, time_from_first, time_to_now, training=training)
        keys, key_part = self.target_attention.encode(hidden)
        if self.config.recommenders_compatible:
            last_time = time_to_now[:, -1:]
        else:
            is_last = ops.equal(ops.expand_dims(ops.arange(ops.shape(items)[1], dtype="int32"), 0) + 1, length[:, None])
            last_time = ops.sum(ops.where(is_last, time_to_now, 0.0), axis=1, keepdims=True)
        return {
            "long_term": self.long_term(events, mask),
            "hidden": hidden,
            "keys": keys,
            "key_part": key_part,
            "mask": ops.cast(mask, "float32"),
            "last_time": last_time,
        }

    def score(self, state: Mapping[str, Any], candidates: Any, training: bool = False) -> Any:
        """Scores candidates for encoded shoppers (paper, sections 4.3 and 4.4).

        Args:
            state: What `encode` returned, B shoppers.
            candidates: (B, C) int32 item ids.
            training: Whether dropout and batch statistics are on.

        Returns:
            (B, C) float32 logits.
        """
        return self.score_and_attend(state, candidates, training)[0]

    def score_and_attend(self, state: Mapping[str, Any], candidates: Any, training: bool = False) -> tuple[Any, Any]:
        """As `score`, and also returns the attention over events (B, C, T), for explanation."""
        _, target = self._embed(candidates)  # (B, C, D)
        mask = ops.greater(state["mask"], 0.5)
        short_term, weights = self.target_attention(
            state["hidden"], state["keys"], state["key_part"], mask, target, training=training
        )
        long_term = ops.broadcast_to(ops.expand_dims(state["long_term"], 1), ops.shape(target))
        last_time = ops.cast(ops.expand_dims(state["last_time"], 1), target.dtype)
        last_time = ops.broadcast_to(last_time, (*ops.shape(target)[:2], 1))
        width = self.config.embedding_dim
        together = ops.concatenate([target, long_term, short_term, last_time], axis=-1)
        gate = ops.sigmoid(self.fusion(ops.reshape(together, (-1, 3 * width + 1)), training=training))  # (B * C, 1)
        taste = gate * ops.reshape(long_term, (-1, width)) + (1.0 - gate) * ops.reshape(short_term, (-1, width))
        logits = self.prediction(ops.concatenate([taste, ops.reshape(target, (-1, width))], axis=1), training=training)
        return ops.cast(ops.reshape(logits, ops.shape(candidates)), "float32"), weights

    def call(self, inputs: Mapping[str, Any], training: bool = False) -> Any:
        """Encodes the histories and scores their candidates: `HISTORY_INPUTS` and candidates (B, C) -> (B, C)."""
        return self.score(self.encode(inputs, training), inputs["candidates"], training=training)
