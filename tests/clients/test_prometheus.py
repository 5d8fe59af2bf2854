"""Prometheus's alerts, from the real one and from what answers nonsense."""
