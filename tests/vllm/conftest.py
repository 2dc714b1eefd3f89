"""A real vLLM on the CPU: in this process for parity, as a server for the wire. Nothing is skipped."""

from __future__ import annotations

import os

import pytest

VLLM_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else it pins this process to a core, and every later test with it
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


def pytest_configure(config: pytest.Config) -> None:
    os.environ.update(VLLM_ENVIRONMENT)  # read by vLLM when it is imported
    config.addinivalue_line("filterwarnings", "ignore")  # vLLM's and its dependencies' own
