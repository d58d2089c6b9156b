"""Inference runtimes that latencies are measured with; each is found through the entry-point group `nas.backends`."""

from nas.hardware.measuring.backends.base import Backend, Workload, load_backend

__all__ = ["Backend", "Workload", "load_backend"]
