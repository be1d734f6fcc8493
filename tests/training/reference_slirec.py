"""Trains recommenders' own SLi-Rec and writes its scores. Run in a process of its own, with legacy Keras:

    TF_USE_LEGACY_KERAS=1 python reference_slirec.py AMAZON_FOLDER OUTPUT_FOLDER

Writes OUTPUT_FOLDER/model/best_model (checkpoint), and OUTPUT_FOLDER/valid.npy and test.npy: one logit for each line of
`valid_data` and `test_data`.
"""

import sys
from pathlib import Path

import numpy as np

from scripts.ml.benchmark_reference import make_model


def main(files: Path, output: Path) -> None:
    model = make_model(
        files,
        max_seq_length=50,
        item_embedding_dim=32,
        cate_embedding_dim=8,
        hidden_size=40,
        attention_size=40,
        layer_sizes=[100, 64],
        att_fcn_layer_sizes=[80, 40],
        activation=["relu", "relu"],
        dropout=[0.3, 0.3],
        enable_BN=True,
        # Far from the default 0.01: scores that hardly differ would agree to 1e-5 whatever the network computed.
        init_value=0.3,
        embed_l2=0.0,
        layer_l2=0.0,
        learning_rate=0.01,
        loss="softmax",
        optimizer="adam",
        train_num_ngs=4,
        epochs=2,
        batch_size=200,
        show_step=1000,
        save_model=True,
        save_epoch=1,
        MODEL_DIR=str(output / "model") + "/",
    )
    model.fit(str(files / "train_data"), str(files / "valid_data"), valid_num_ngs=4)
    model.load_model(str(output / "model" / "best_model"))
    for split in ("valid", "test"):
        logits = []
        for batch in model.iterator.load_data_from_file(str(files / f"{split}_data"), batch_num_ngs=0):
            batch[model.layer_keeps] = model.keep_prob_test
            batch[model.is_train_stage] = False
            logits.append(model.sess.run(model.logit, feed_dict=batch)[:, 0])
        np.save(output / f"{split}.npy", np.concatenate(logits))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
