"""What Prometheus reads of the HTTP door.

With PROMETHEUS_MULTIPROC_DIR set before this module is imported, the workers of a machine count together: whichever of
them is asked answers for all. Without it, each application counts for itself.
"""

import os
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counters of one application. Labels take few values: nothing that a client sends becomes one."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "slirec_api_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "slirec_api_request_seconds", "Seconds to the answer.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.in_flight = Gauge(
            "slirec_api_in_flight", "Requests being answered.", registry=self.registry, multiprocess_mode="livesum"
        )
        self.model = Gauge(
            "slirec_api_model_info", "Workers that answer with a model.", ["name", "version"], registry=self.registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self.switches = Counter("slirec_api_model_switches", "Models switched in.", registry=self.registry)
        self.source_up = Gauge(
            "slirec_api_source_up", "1: the last look for a new model went well.", registry=self.registry,
            multiprocess_mode="livemostrecent",
        )  # fmt: skip
        self.source_failures = Counter(
            "slirec_api_source_failures", "Looks for a new model that failed, by what failed.", ["what"],
            registry=self.registry,
        )  # fmt: skip
        for what in ("source", "model"):
            self.source_failures.labels(what)

    def text(self) -> bytes:
        """Returns all figures in Prometheus' text format."""
        if not os.environ.get(SHARED):
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)
