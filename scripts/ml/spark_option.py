"""The option --spark of the commands that have an engine."""

import argparse


def add_spark_option(parser: argparse.ArgumentParser) -> None:
    """Adds --spark, whose value is a list of (name, value)."""
    parser.add_argument(
        "--spark",
        nargs="+",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="settings of the Spark session, such as spark.master=local[2] spark.driver.memory=6g",
    )


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.startswith("spark.") and equals and value):
        raise argparse.ArgumentTypeError(f"should be NAME=VALUE, the name beginning with spark. Received: {text!r}")
    return name, value
