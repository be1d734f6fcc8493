"""SLi-Rec: long- and short-term taste, fused for each candidate.

Zeping Yu, Jianxun Lian, Ahmad Mahmoody, Gongshen Liu, Xing Xie: Adaptive User Modeling with Long and Short-Term
Preferences for Personalized Recommendation, IJCAI 2019 ("the paper").
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from training.config import ModelConfig
from training.data.features import EncodedFeature
from training.models.dense import FullyConnected
from training.models.feature_layers import FeatureEmbeddings
from training.models.layers import LongTermAttention, TargetAttention, TimeFeatures
from training.models.time_lstm import TimeLSTM

ops: Any = keras.ops  # Keras ships no usable types for its operations

HISTORY_INPUTS = ("items", "timestamps", "length", "first_timestamp", "now")
STATE_OUTPUTS = ("long_term", "hidden", "keys", "key_part", "mask", "last_time")


class SliRec(keras.Model):
    """The network in two halves: `encode` reads a history once, `score` reads its state and any candidates.

    Custom features are no part of the paper, and without any the network is the paper's. Those of items stand beside
    the category, in events and candidates, and enter the LSTM as well. Those of events enter the LSTM and, projected to
    the width of an event and added to it, long-term attention. Those of users enter the fusion gate and the prediction.

    Args:
        config: Sizes and switches.
        item_category: (num_items,) int32 category id of each item id; entry 0 is the unknown item.
        num_categories: Size of the category vocabulary, unknown included.
        init_value: Standard deviation of the truncated-normal start of all weights.
        seed: Seed of that start and of dropout.
        features: Custom features.

    Attributes:
        width: D, of an event and of a candidate: item, category and item features.
        history_inputs: What `encode` reads: `HISTORY_INPUTS`, then ids of features of events (B, T) and users (B,).

    Raises:
        ValueError: `config` has another width.
    """

    def __init__(
        self,
        config: ModelConfig,
        item_category: np.ndarray,
        num_categories: int,
        init_value: float = 0.01,
        seed: int = 0,
        features: Sequence[EncodedFeature] = (),
        **kwargs: Any,
    ):
        super().__init__(name=kwargs.pop("name", "slirec"), **kwargs)
        item_width = sum(each.feature.dim for each in features if each.of == "item")
        self.width = config.embedding_dim + item_width
        self.config = config.with_width(item_width)
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
        self.features = FeatureEmbeddings(features, self.num_items, start, name="features")
        self.history_inputs = (*HISTORY_INPUTS, *self.features.inputs)
        self.event_projection: Any = None
        if self.features.event_width:
            self.event_projection = keras.layers.Dense(
                self.width, use_bias=False, kernel_initializer=start, name="event_projection"
            )
        self.time_features = TimeFeatures(name="time_features", dtype="float32")
        self.long_term = LongTermAttention(start, not config.recommenders_compatible, name="long_term")
        self.time_lstm = TimeLSTM(self.width, start, name="time_lstm")
        self.target_attention = TargetAttention(
            network(config.att_fcn_layer_sizes, "network", 1), start, name="target_attention"
        )
        self.fusion = network(config.att_fcn_layer_sizes, "fusion", 2)
        self.prediction = network(config.layer_sizes, "prediction", 3)
        self._build_all()

    def _build_all(self) -> None:
        width, of_events, of_users = self.width, self.features.event_width, self.features.user_width
        self.item_embedding.build(None)
        self.cate_embedding.build(None)
        self.features.build()
        if self.event_projection is not None:
            self.event_projection.build((None, None, of_events))
        self.long_term.build((None, None, width))
        read = self.config.item_embedding_dim + self.features.item_width + of_events
        self.time_lstm.build((None, None, read))
        self.target_attention.build((None, None, width))
        self.fusion.build((None, 3 * width + 1 + of_users))
        self.prediction.build((None, 2 * width + of_users))
        self.built = True

    def _embed(self, items: Any) -> tuple[list[Any], Any]:
        """Returns embeddings of item and item features (..., dim) each, and item, category and these (..., D)."""
        item, features = self.item_embedding(items), self.features.of_items(items)
        category = self.cate_embedding(ops.take(self.item_category, items, axis=0))
        return [item, *features], ops.concatenate([item, category, *features], axis=-1)

    def used_embeddings(self, inputs: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
        """Yields each embedding layer with the ids (n,) that a training batch uses of it, some more than once."""
        items = ops.concatenate([ops.reshape(inputs[name], (-1,)) for name in ("items", "candidates")], axis=0)
        yield self.item_embedding, items
        yield self.cate_embedding, ops.take(self.item_category, items, axis=0)
        yield from self.features.used(inputs, items)

    def encode(self, history: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Encodes histories, independently of any candidate (paper, sections 4.1 and 4.2).

        Args:
            history: `history_inputs`: items (B, T) int32 right-padded with 0, timestamps (B, T) int64 UNIX seconds,
                length (B,) int32, first_timestamp (B,) int64, now (B,) int64, and ids of custom
                features, int32.
            training: Whether gradients will be wanted; the numbers are the same.

        Returns:
            `STATE_OUTPUTS`: long_term (B, D), hidden (B, T, H), keys (B, T, D), key_part (B, T, first layer),
            mask (B, T) float32, last_time (B, 1); and user (B, U) where there are user features.
        """
        items, length = history["items"], history["length"]
        mask = ops.expand_dims(ops.arange(ops.shape(items)[1], dtype="int32"), 0) < ops.expand_dims(length, 1)
        read, events = self._embed(items)  # (B, T, dim) each, (B, T, D)
        if self.event_projection is not None:
            of_events = self.features.of_events(history)  # no :=, which AutoGraph cannot read
            read = [*read, *of_events]
            events = events + self.event_projection(ops.concatenate(of_events, axis=-1))
        item = read[0] if len(read) == 1 else ops.concatenate(read, axis=-1)
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
        of_users = self.features.of_users(history)
        return {
            "long_term": self.long_term(events, mask),
            "hidden": hidden,
            "keys": keys,
            "key_part": key_part,
            "mask": ops.cast(mask, "float32"),
            "last_time": last_time,
            **({"user": ops.concatenate(of_users, axis=-1)} if of_users else {}),
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
        width, of_users = self.width, self.features.user_width
        together, pairs = [target, long_term, short_term, last_time], ops.shape(target)[:2]
        user = [ops.broadcast_to(state["user"][:, None], (*pairs, of_users))] if of_users else []
        together = ops.reshape(ops.concatenate([*together, *user], axis=-1), (-1, 3 * width + 1 + of_users))
        gate = ops.sigmoid(self.fusion(together, training=training))  # (B * C, 1)
        taste = gate * ops.reshape(long_term, (-1, width)) + (1.0 - gate) * ops.reshape(short_term, (-1, width))
        user = [ops.reshape(each, (-1, of_users)) for each in user]
        known = ops.concatenate([taste, ops.reshape(target, (-1, width)), *user], axis=1)
        logits = self.prediction(known, training=training)
        return ops.cast(ops.reshape(logits, ops.shape(candidates)), "float32"), weights

    def call(self, inputs: Mapping[str, Any], training: bool = False) -> Any:
        """Encodes the histories and scores their candidates: `history_inputs` and candidates (B, C) -> (B, C)."""
        return self.score(self.encode(inputs, training), inputs["candidates"], training=training)
