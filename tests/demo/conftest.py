"""The demo backend as a real process, and the real OpenAI SDK in front of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from openai import AsyncOpenAI

from tern.demo.checkpoint import load_checkpoint
from tern.demo.model import Model
from tern.demo.server import CHECKPOINT
from tern.demo.text import TextCodec
from tests.demo.reading import MODEL

ROOT = Path(__file__).parents[2]


@contextmanager
def running_server(*arguments: str) -> Iterator[str]:
    """Starts the server on a free port and gives its address; ends it with SIGTERM."""
    command = [sys.executable, "-m", "tern.demo.server", "--name", MODEL, "--port", "0", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["address"]
        finally:
            process.terminate()
            process.wait(15)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    with running_server() as at:
        yield at


@pytest.fixture(scope="session")
def narrow_address() -> Iterator[str]:
    """One choice at a time, 64 positions."""
    with running_server("--max-num-seqs", "1", "--max-model-len", "64") as at:
        yield at


@pytest.fixture
async def client(address: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def http(address: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=address, timeout=30) as raw:
        yield raw


@pytest.fixture
async def narrow_http(narrow_address: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=narrow_address, timeout=30) as raw:
        yield raw


@pytest.fixture(scope="session")
def model() -> Model:
    return Model(load_checkpoint(CHECKPOINT))


@pytest.fixture(scope="session")
def codec() -> TextCodec:
    return TextCodec(CHECKPOINT)
