"""What the parts of the benchmark share: sizes, the work folder, the measuring processes, catalogues of any size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.ml.benchmark_data import CONFIG, make_catalogue, make_training_data, reference_settings
from scripts.ml.benchmark_worker import Worker
from training.data.inventory import Inventory

REFERENCE, OURS, SERVING = (f"scripts.ml.benchmark_{side}" for side in ("reference", "ours", "serving"))
SPREAD = 0.5  # of a product's vector around a trained one, in standard deviations of the trained ones
DONOR_STEPS = 60  # of training, where the part "training" has not left a trained model
K = 16


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        interactions: Sizes of preprocessing; the reference is run on the second.
        large: Interactions of the part "large".
        shoppers: Shoppers of the training data, with about `events` events each.
        events: Their mean number of events.
        epochs: Epochs of training.
        seeds: Networks of ours that are trained for the loss curve.
        evaluated: Shoppers of the evaluation.
        inventories: Numbers of products, rising; the reference ranks the last one at the longest history only.
        lengths: Lengths of history.
        two_stage: Serving configuration of the two-stage mode, which the largest inventory is also ranked in.
        recalled: Requests that its recall is the mean of.
        scored: Shoppers of batch scoring; the reference scores `scored_reference` of them.
        scored_reference: See `scored`.
        repeats: Repeats of what is quick; what takes the reference long is repeated less.
        probe: Seconds spent on the rate of matrix products before and after each part.
    """

    interactions: tuple[int, int, int] = (250_000, 1_000_000, 4_000_000)
    large: int = 20_000_000
    shoppers: int = 50
    events: int = 490
    epochs: int = 3
    seeds: int = 3
    evaluated: int = 2_000
    inventories: tuple[int, ...] = (234, 10_000, 100_000)
    lengths: tuple[int, ...] = (3, 20, 50)
    two_stage: Mapping[str, Any] = field(default_factory=dict)
    recalled: int = 40
    scored: int = 10_000
    scored_reference: int = 25
    repeats: int = 5
    probe: float = 2.0


QUICK = Scale(
    interactions=(2_000, 4_000, 8_000),
    large=10_000,
    shoppers=6,
    events=200,
    epochs=2,
    seeds=1,
    evaluated=40,
    inventories=(120, 300),
    lengths=(3, 50),
    two_stage={"two_stage_from": 1, "shortlist_size": 100},
    recalled=4,
    scored=40,
    scored_reference=2,
    repeats=2,
    probe=0.05,
)
FULL = Scale(shoppers=150)


@dataclass(frozen=True)
class Catalogue:
    """An inventory of some size with both sides' models, whose weights are equal.

    Attributes:
        folder: Holds `bundle`, `amazon` (recommenders' files) and `checkpoint`.
        inventory: The products.
        name: Name of the registered model.
    """

    folder: Path
    inventory: Inventory
    name: str

    @property
    def bundle(self) -> Path:
        """The model bundle."""
        return self.folder / "bundle"

    @property
    def categories(self) -> list[str]:
        """Category of each product, in catalogue order."""
        return [self.inventory.category_of[handle] for handle in self.inventory.handles]

    def reference_arguments(self) -> dict[str, Any]:
        """Returns what the reference needs to load its model."""
        return {
            "folder": str(self.folder / "amazon"),
            "settings": reference_settings(),
            "checkpoint": str(self.folder / "checkpoint" / "model"),
        }


@dataclass
class Context:
    """The run: where it works, how much it measures, and what has been prepared so far."""

    work: Path
    inventory: Path
    scale: Scale
    catalogues: dict[int, Catalogue] = field(default_factory=dict)

    def reference(self) -> Worker:
        """Starts a process with recommenders."""
        return Worker(REFERENCE, self.work / "reference.log", {"TF_USE_LEGACY_KERAS": "1"})

    def ours(self) -> Worker:
        """Starts a process with our training."""
        return Worker(OURS, self.work / "ours.log")

    def serving(self) -> Worker:
        """Starts a process with our serving, with an MLflow store in the work folder."""
        store = f"sqlite:///{self.work / 'mlflow.db'}"
        environment = {"MLFLOW_TRACKING_URI": store, "MLFLOW_REGISTRY_URI": store, "SLIREC_MODEL_NAME": ""}
        return Worker(SERVING, self.work / "serving.log", environment)

    def catalogue(self, products: int) -> Catalogue:
        """Prepares a catalogue of `products` products: the reference's checkpoint, our bundle, the registered model.

        The reference gets the weights of a trained network, with vectors drawn around its products' ones, and saves
        them; ours are read from its checkpoint, so that the answers can be compared.
        """
        if products not in self.catalogues:
            folder = self.work / f"catalogue_{products}"
            _, inventory = make_catalogue(folder, products)
            catalogue = Catalogue(folder, inventory, f"benchmark_{products}")
            arguments = catalogue.reference_arguments()
            checkpoint = arguments.pop("checkpoint")
            donor = self.trained()
            with self.reference() as reference:
                reference.call("build", **arguments)
                reference.call("graft", donor=donor, spread=SPREAD)
                reference.call("save", path=checkpoint)
            with self.ours() as ours:
                ours.call("export", folder=str(folder), checkpoint=checkpoint)
            with self.serving() as serving:
                serving.call("register", bundle=str(catalogue.bundle), name=catalogue.name)
            self.catalogues[products] = catalogue
        return self.catalogues[products]

    def training_data(self) -> Path:
        """Makes the training data on the first call, and returns its folder."""
        folder = self.work / "training"
        if not folder.exists():
            make_training_data(self.inventory, folder, users=self.scale.shoppers, events=self.scale.events)
        return folder

    def trained(self) -> str:
        """Returns a checkpoint of the reference: the part "training" saves one, else it is trained for a while."""
        folder = self.training_data()
        checkpoint = folder / "checkpoint" / "model"
        if not checkpoint.parent.exists():
            with self.reference() as reference:
                reference.call("build", folder=str(folder / "amazon"), settings=reference_settings())
                reference.call("train_epoch", steps=DONOR_STEPS)
                reference.call("save", path=str(checkpoint))
        return str(checkpoint)


def batch_size() -> int:
    """Returns the positives of a batch."""
    return CONFIG.train.batch_size
