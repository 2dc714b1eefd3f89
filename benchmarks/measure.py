"""What a gateway costs: CPU time and memory of its whole process tree.

CPU time is what survives a noisy machine, because the kernel counts it per process wherever it waits. It is read
from /proc/PID/stat of the process and all its descendants, with the time of children they have already reaped,
so that a worker which ends between two readings is still counted.
"""

from __future__ import annotations

from collections.abc import Iterator

import psutil


def process_tree(pid: int) -> Iterator[psutil.Process]:
    try:
        root = psutil.Process(pid)
        yield root
        yield from root.children(recursive=True)
    except psutil.NoSuchProcess:
        return


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree under `pid`, reaped children included; resolution is one clock tick."""
    total = 0.0
    for process in process_tree(pid):
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


def rss_bytes(pid: int) -> int:
    """Resident memory, summed over the tree; pages shared by forked workers count for each of them."""
    total = 0
    for process in process_tree(pid):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
