"""Two small trained models of the inventory, for the soak. A process of its own: the soak stays without TensorFlow.

    python -m scripts.ml.soak_models INVENTORY FOLDER

Writes FOLDER/1/bundle and FOLDER/2/bundle, trained from different starts on the same generated interactions.
"""

import sys
from pathlib import Path

from scripts.ml.benchmark_data import CONFIG
from scripts.ml.generate_interactions import generate
from scripts.ml.interaction_output import write_interaction_file
from training.data.interactions import read_interactions
from training.data.inventory import load_inventory
from training.data.sequences import build_dataset
from training.export import export_bundle
from training.trainer import train

USERS, DAYS, EPOCHS = 1_000, 120, 2


def main(inventory_path: str, folder: str) -> int:
    """Trains both; returns the exit status."""
    root, inventory = Path(folder), load_inventory(inventory_path)
    write_interaction_file(generate(inventory, users=USERS, days=DAYS, seed=1), root / "interactions.tsv", "tsv")
    dataset = build_dataset(read_interactions(root / "interactions.tsv"), root / "dataset", rng_seed=1)
    for seed in (1, 2):
        config = CONFIG.replaced(train={"seed": seed, "epochs": EPOCHS})
        result = train(dataset, config, root / str(seed), progress=False)
        export_bundle(result.model, dataset, inventory, config, root / str(seed) / "bundle")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
