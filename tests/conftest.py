"""The kernels' and vLLM's suites run in environments of their own, without the product's clients."""

from __future__ import annotations

import importlib.util
import signal

pytest_plugins = ["tests.parts.fixtures"] if importlib.util.find_spec("psycopg") else []


def pytest_configure() -> None:
    """Whoever ends the run with SIGTERM or by closing the terminal leaves no server behind: both count as Ctrl-C,
    after which fixtures still clean up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
