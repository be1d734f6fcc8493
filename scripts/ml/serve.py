"""Serves recommendations over HTTP, from the registry's champion or from a bundle folder.

python -m scripts.ml.serve [BUNDLE] [--port 8000] [--workers 1]

This process fetches and proves models and supervises the workers, which answer: a worker that dies is replaced, and
opens the last good model from disk, whether or not the registry can be asked.
"""

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from serving.api_settings import ApiSettings, load_settings
from serving.api_source import BundleSource, RegistrySource
from serving.api_workers import LOG_FORMAT, Supervisor
from serving.bundle import BundleError
from serving.config import DEFAULT_CONFIG_PATH, ConfigError, ServeConfig, load_config

FLAGS = [name for name in ApiSettings.model_fields if name != "token"]  # a secret has no place on a command line
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(bundle: Path | None, settings: ApiSettings, config: ServeConfig, *, name: str | None = None) -> None:
    """Serves until SIGTERM or SIGINT; requests in flight are answered first.

    Args:
        bundle: Folder of a bundle; None: the registry's champion.
        settings: Of the HTTP door.
        config: How products are ranked, and the registry's alias.
        name: Registered name; by default SLIREC_MODEL_NAME, else the configuration's.

    Raises:
        BundleError: The folder holds no bundle that can be trusted. (A registry may come later: /ready says when.)
        RegistryError: The bundle does not reproduce its example.
        RuntimeError: A worker could not start.
    """
    # MLflow's own patience (minutes) would hide for as long that the registry is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    if settings.token is None and settings.host not in LOOPBACK:
        logging.getLogger("serving.api").warning("No SLIREC_API_TOKEN is set: whoever reaches the port may ask")
    # Until the supervisor listens to it; its default would end the process before the folder is gone.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="slirec-", ignore_cleanup_errors=True) as folder:
        models, figures = Path(folder, "models"), Path(folder, "figures")
        models.mkdir()
        figures.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(figures)
        try:
            # After the variable is set, which prometheus_client reads when it is imported.
            from serving.api_keeper import Keeper
            from serving.api_metrics import Metrics

            source = BundleSource(bundle) if bundle else RegistrySource(config, models, name)
            keeper = Keeper(source, config, Metrics(), models, settings.switch_seconds)
            if bundle:
                keeper.refresh()
            supervisor = Supervisor(models, settings, config, figures)
            keeper.start()
            try:
                supervisor.run()
            finally:
                keeper.stop()
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="serve", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", nargs="?", type=Path, help="folder of a model bundle (else the registry's champion)")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG_PATH, help="serving configuration (YAML)")
    parser.add_argument("--name", help="registered model name (else SLIREC_MODEL_NAME, else the configuration's)")
    parser.add_argument("--alias", help="registry alias to follow (else the configuration's)")
    for flag in FLAGS:
        field = ApiSettings.model_fields[flag]
        text = f"{(field.description or '').rstrip('.')} (default {field.default}; SLIREC_API_{flag.upper()})"
        parser.add_argument(f"--{flag.replace('_', '-')}", metavar="VALUE", help=text.replace("%", "%%"))
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        settings = load_settings(os.environ, {flag: getattr(arguments, flag) for flag in FLAGS})
        config = load_config(arguments.config)
        if arguments.alias:
            config = config.model_copy(update={"alias": arguments.alias})
        serve(arguments.bundle, settings, config, name=arguments.name)
    except (BundleError, ConfigError, RuntimeError, OSError) as error:  # a RegistryError is a RuntimeError
        print(f"serve: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
