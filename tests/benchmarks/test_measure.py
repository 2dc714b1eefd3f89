"""CPU time is counted for the whole process tree, also for children that are gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.measure import cpu_seconds, rss_bytes

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print("burnt", flush=True)
sys.stdin.readline()
child.stdin.close()
child.wait()
print("reaped", flush=True)
sys.stdin.readline()
"""
CHILD = BURN.format(seconds=0.4) + "import sys\nprint('done', flush=True)\nsys.stdin.read()\n"


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    code = PARENT.format(child=CHILD)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.write("\n")


def test_a_childs_time_is_counted_while_it_lives_and_after_it_was_reaped(parent: subprocess.Popen[str]) -> None:
    assert parent.stdin is not None and parent.stdout is not None
    assert parent.stdout.readline() == "burnt\n"
    alive = cpu_seconds(parent.pid)
    parent.stdin.write("\n")
    parent.stdin.flush()
    assert parent.stdout.readline() == "reaped\n"
    assert alive >= 0.38
    assert cpu_seconds(parent.pid) >= alive - 0.02


def test_memory_is_summed_over_the_tree(parent: subprocess.Popen[str]) -> None:
    assert parent.stdin is not None and parent.stdout is not None
    parent.stdout.readline()
    with_child = rss_bytes(parent.pid)
    parent.stdin.write("\n")
    parent.stdin.flush()
    parent.stdout.readline()
    assert 0 < rss_bytes(parent.pid) < with_child


def test_a_process_that_is_gone_costs_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert cpu_seconds(process.pid) == 0.0
    assert rss_bytes(os.getpid()) > 0
