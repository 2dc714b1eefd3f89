"""A real vLLM on the CPU: in this process for parity, as a server for what goes over the wire. Nothing is
skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "tern" / "demo" / "checkpoint"

VLLM_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


def pytest_configure(config: pytest.Config) -> None:
    os.environ.update(VLLM_ENVIRONMENT)  # read by vLLM when it is imported
    config.addinivalue_line("filterwarnings", "ignore")  # vLLM's and its dependencies' own


@pytest.fixture(scope="session")
def served_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own demo model, in the layout of 2B-4T."""
    if (DEMO / "model.safetensors").exists():
        return DEMO
    from tests.vllm.checkpoints import Family, Stored, random_tiny, write  # only once the environment is set

    return write(random_tiny(Family.BITNET), Stored.MULTIPLY, tmp_path_factory.mktemp("bitnet") / "model")


@pytest.fixture(autouse=True)
def _threads_given_back() -> Iterator[None]:
    """vLLM pins the process to cores and threads; later tests in this process start from the same state."""
    cores = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, cores)
