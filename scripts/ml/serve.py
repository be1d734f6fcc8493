"""Serves recommendations over HTTP, from the registry's champion or from a bundle folder.

python -m scripts.ml.serve [BUNDLE] [--port 8000]
"""

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from serving.api import create_app
from serving.api_settings import ApiSettings, load_settings
from serving.api_source import BundleSource, RegistrySource
from serving.bundle import BundleError
from serving.clean_process import RegistryError
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
    """
    # MLflow's own patience (minutes) would hide for as long that the registry is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with tempfile.TemporaryDirectory(prefix="slirec-", ignore_cleanup_errors=True) as folder:
        source = BundleSource(bundle) if bundle else RegistrySource(config, Path(folder), name)
        app = create_app(source, settings, config)
        if bundle:
            app.state.models.refresh()
        if settings.token is None and settings.host not in LOOPBACK:
            logging.getLogger("serving.api").warning("No SLIREC_API_TOKEN is set: whoever reaches the port may ask")
        # uvicorn raises the signal again when all is done; its default would end the process before the folder is gone.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,  # shoppers' addresses have no place in a log; /metrics counts requests
            server_header=False,
            timeout_graceful_shutdown=settings.stop_seconds,
        )


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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = load_settings(os.environ, {flag: getattr(arguments, flag) for flag in FLAGS})
        config = load_config(arguments.config)
        if arguments.alias:
            config = config.model_copy(update={"alias": arguments.alias})
        serve(arguments.bundle, settings, config, name=arguments.name)
    except (BundleError, ConfigError, RegistryError, OSError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
