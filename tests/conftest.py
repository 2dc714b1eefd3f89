"""The kernels' and vLLM's suites run in environments of their own, without the product's clients."""

from __future__ import annotations

import importlib.util

pytest_plugins = ["tests.parts.fixtures"] if importlib.util.find_spec("psycopg") else []
