import keras
import numpy as np
import pytest
from small_data import small_dataset

from training.config import ConfigError, TrainingConfig
from training.optimizers import decayed, learning_rate, make_optimizer
from training.trainer import run_identity, train

SHORT = {"epochs": 2, "batch_size": 100, "init_value": 0.1, "epoch_examples": 300}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("optimizers") / "dataset", num_users=30)


def rates(steps, steps_per_epoch=10, **settings):
    config = TrainingConfig().replaced(train={"learning_rate": 0.8, **settings})
    rate = learning_rate(config, steps_per_epoch)
    return [float(rate(step)) for step in steps] if callable(rate) else rate


def test_rates_are_constant_exponential_or_a_cosine_after_a_warmup():
    assert rates([0]) == rates([0], learning_rate_schedule="constant") == 0.8
    assert rates([0, 10, 20], learning_rate_decay=0.5) == pytest.approx([0.8, 0.4, 0.2])
    cosine = {"learning_rate_schedule": "cosine", "epochs": 4}
    assert rates([0, 20, 40], **cosine) == pytest.approx([0.8, 0.4, 0.0], abs=1e-7)
    warm = rates([0, 5, 10, 25, 40], warmup_epochs=1, **cosine)
    assert warm == pytest.approx([0.0, 0.4, 0.8, 0.4, 0.0], abs=1e-7)


def test_weight_decay_shrinks_matrices_of_layers_by_the_rate_and_leaves_embeddings_and_biases():
    layer, embedding = keras.layers.Dense(2, name="layer"), keras.layers.Embedding(3, 2, name="item_embedding")
    layer.build((None, 2))
    embedding.build(None)
    variables = [*layer.trainable_variables, *embedding.trainable_variables]
    assert [decayed(each) for each in variables] == [True, False, False]
    for each in variables:
        each.assign(np.ones(each.shape))
    settings = {"optimizer": "adamw", "weight_decay": 0.5, "layer_l2": 0.0, "learning_rate": 0.1}
    optimizer = make_optimizer(TrainingConfig().replaced(train=settings), variables, 1)
    optimizer.apply_gradients([(np.zeros(each.shape, np.float32), each) for each in variables])
    for each, value in zip(variables, (1 - 0.1 * 0.5, 1.0, 1.0), strict=True):
        np.testing.assert_allclose(np.asarray(each), value)


def test_by_default_the_optimiser_is_plain_adam():
    optimizer = make_optimizer(TrainingConfig(), [], 1)
    assert type(optimizer) is keras.optimizers.Adam
    assert (optimizer.clipnorm, optimizer.global_clipnorm, optimizer.weight_decay) == (None, None, None)
    clipped = make_optimizer(TrainingConfig().replaced(train={"max_global_norm": 3.0}), [], 1)
    assert (clipped.clipnorm, clipped.global_clipnorm) == (None, 3.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight_decay": 0.1}, "`weight_decay` belongs to optimizer adamw"),
        ({"optimizer": "adamw"}, "`weight_decay` belongs to optimizer adamw"),
        ({"optimizer": "adamw", "weight_decay": 0.1}, "`layer_l2` should be 0 with `weight_decay`"),
        ({"is_clip_norm": True, "max_global_norm": 1.0}, "not by both"),
        ({"warmup_epochs": 1.0}, "`warmup_epochs` belongs to the schedule cosine"),
        ({"warmup_epochs": 10.0, "learning_rate_schedule": "cosine"}, "fewer than epochs = 10"),
        ({"learning_rate_decay": 0.5, "learning_rate_schedule": "constant"}, "unless the schedule is exponential"),
        ({"loss": "gbce", "logq_correction": True, "catalogue_num_ngs": 1}, "correction of the sampled softmax"),
        ({"hard_num_ngs": 1, "logq_correction": True, "catalogue_num_ngs": 1}, "`hard_num_ngs` should be 0"),
        ({"hard_num_ngs": 3, "hard_pool": 2}, "`hard_pool` should be at least hard_num_ngs = 3"),
        ({"train_num_ngs": 0}, "At least one of the numbers of negatives"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig().replaced(train=settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "full_softmax", "train_num_ngs": 0, "max_global_norm": 1.0},
        {
            "loss": "gbce",
            "train_num_ngs": 0,
            "catalogue_num_ngs": 8,
            "catalogue_power": 0.75,
            "hard_num_ngs": 2,
            "hard_pool": 8,
            "learning_rate_schedule": "cosine",
            "warmup_epochs": 0.5,
            "optimizer": "adamw",
            "weight_decay": 0.01,
            "layer_l2": 0.0,
        },
    ],
    ids=["full softmax", "gBCE, hard negatives, AdamW, cosine"],
)
def test_every_way_of_training_learns(dataset, tmp_path, settings):
    config = TrainingConfig().replaced(train=SHORT | {"learning_rate": 0.02, **settings})
    losses = [report["loss"] for report in train(dataset, config, tmp_path, progress=False).history]
    assert losses[1] < losses[0]


def test_a_cosine_ends_with_its_epochs_so_a_run_with_more_is_another_run(dataset):
    cosine = TrainingConfig().replaced(train={"learning_rate_schedule": "cosine"})
    assert run_identity(dataset, cosine) != run_identity(dataset, cosine.replaced(train={"epochs": 11}))
    plain = TrainingConfig()
    assert run_identity(dataset, plain) == run_identity(dataset, plain.replaced(train={"epochs": 11}))
