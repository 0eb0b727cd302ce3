"""Federated learning for sites that differ in both their models and their data (MDH-FL, arXiv 2308.00155)."""

__version__ = "0.1.0"
