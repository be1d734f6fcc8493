import pytest

from training.config import ConfigError, ModelConfig, TrainingConfig, load_config


def test_the_provided_configuration_is_complete_and_valid():
    config = load_config()
    assert config.model.embedding_dim == config.model.hidden_size == 40
    assert config.train.train_num_ngs == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {learning_rat: 0.1}", "train.learning_rat: Extra inputs are not permitted"),
        ("train: {learning_rate: -1}", "train.learning_rate: Input should be greater than 0"),
        ("trian: {}", "trian: Extra inputs are not permitted"),
        ("model: {hidden_size: 30}", "`hidden_size` should equal item_embedding_dim .* = 40.*hidden_size = 30"),
        ("model: {activation: [relu]}", "`activation` should have an entry for each of 2 hidden layers"),
        ("train: {logq_correction: true}", "`logq_correction` needs `catalogue_num_ngs` of at least 1"),
        ("train: {eval_metric: luck}", r"train\.eval_metric: String should match pattern"),
        ("[1, 2]", "file: Input should be"),
        ("a: b: c", "Cannot read the training configuration"),
    ],
)
def test_a_bad_configuration_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


def test_replaced_keeps_the_rest_and_validates():
    config = TrainingConfig().replaced(train={"epochs": 3})
    assert config.train.epochs == 3
    assert config.train.batch_size == TrainingConfig().train.batch_size
    with pytest.raises(ConfigError, match=r"train\.epochs"):
        config.replaced(train={"epochs": 0})


def test_configurations_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        ModelConfig().hidden_size = 3
