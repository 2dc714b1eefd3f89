"""Measure the ternary kernels beside their peers on one GPU: `python -m bench` (README.md beside the package)."""
