"""Median and spread of samples, and rates from them. Pure."""

from __future__ import annotations

import statistics
from typing import NamedTuple


class Spread(NamedTuple):
    """Microseconds: the median and the 10th and 90th percentile."""

    median: float
    p10: float
    p90: float


def spread(samples: list[float]) -> Spread:
    """Of at least two samples."""
    deciles = statistics.quantiles(samples, n=10, method="inclusive")
    return Spread(statistics.median(samples), deciles[0], deciles[-1])


def gigabytes_per_second(size_bytes: int, microseconds: float) -> float:
    return size_bytes / microseconds / 1e3


def teraops(m: int, n: int, k: int, microseconds: float) -> float:
    """Multiplications and additions of y[m, n] = x[m, k] W[n, k]."""
    return 2.0 * m * n * k / microseconds / 1e6


def least_bytes(m: int, n: int, k: int, weight_bits: float) -> int:
    """What any kernel must move: weights, int8 activations, 16-bit results."""
    return int(n * k * weight_bits / 8) + m * k + 2 * m * n


def clearly_faster(challenger: Spread, champion: Spread) -> bool:
    """Beyond the spread of both: the challenger's slow end is faster than the champion's fast end."""
    return challenger.p90 < champion.p10
