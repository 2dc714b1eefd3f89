"""A small plot in the terminal: one row per bucket, one bar per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

EIGHTHS: Final = " ▏▎▍▌▋▊▉"
FULL: Final = "█"


def bar(value: int, most: int, width: int) -> str:
    """`value` of `most` as a bar of at most `width` cells; what is more than nothing shows at least a sliver."""
    if most <= 0 or value <= 0:
        return ""
    eighths = max(1, round(value * width * 8 / most))
    whole, rest = divmod(eighths, 8)
    return FULL * whole + (EIGHTHS[rest] if rest else "")


def bars(labels: Sequence[str], values: Sequence[int], width: int) -> list[str]:
    """Lines of label, bar and value, all bars to the same scale."""
    most = max(values, default=0)
    pad = max((len(label) for label in labels), default=0)
    return [
        f"{label:<{pad}}  {bar(value, most, width):<{width}}  {value:,}"
        for label, value in zip(labels, values, strict=True)
    ]
