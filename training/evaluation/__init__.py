"""Metrics, protocols and baselines."""
