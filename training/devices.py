"""What networks run on: GPUs, or the cores of a CPU, and how those are used."""

import os

import tensorflow as tf

from training.config import TrainingConfig

MOST_CORES = 8  # up to which whole operations side by side are the faster way: measured on few cores only


def make_strategy(choice: str) -> tf.distribute.Strategy:
    """Returns the tf.distribute strategy: "auto" mirrors over several GPUs, "mirrored" over all logical devices."""
    gpus = tf.config.list_logical_devices("GPU")
    if choice == "mirrored" or (choice == "auto" and len(gpus) > 1):
        return tf.distribute.MirroredStrategy([device.name for device in gpus or tf.config.list_logical_devices("CPU")])
    return tf.distribute.get_strategy()


def describe_devices(strategy: tf.distribute.Strategy, config: TrainingConfig) -> str:
    """Returns one line that says what the network is trained on."""
    gpus = tf.config.list_logical_devices("GPU")
    devices = f"{strategy.num_replicas_in_sync} x {'GPU' if gpus else 'CPU'}"
    xla = ", XLA" if config.device.jit_compile else ""
    return f"Training on {devices} ({cores()} cores), {config.device.precision}{xla}"


def cores() -> int:
    """Returns the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_few_cores() -> bool:
    """Returns whether networks run on a CPU of a few cores."""
    return not tf.config.list_physical_devices("GPU") and cores() <= MOST_CORES


def run_operations_side_by_side() -> None:
    """Gives each TensorFlow operation one thread, and lets as many of them run at a time as there are cores.

    The networks here come in independent parts (halves, chunks), whose small operations lose more by being shared among
    threads than they gain. Has no effect with a GPU, on many cores, where TF_NUM_INTRAOP_THREADS or
    TF_NUM_INTEROP_THREADS is set, and once TensorFlow has computed something in this process.
    """
    asked = {"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"} & os.environ.keys()
    if asked or not on_few_cores():
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(cores())
    except RuntimeError:  # too late: as it is, then
        return
