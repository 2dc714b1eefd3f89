"""Builds the demo backend: checkpoint, engine, metrics and paths in one Starlette application."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from tern.demo.asking import Backend
from tern.demo.checkpoint import CheckpointError, load_checkpoint
from tern.demo.endpoints import Endpoints
from tern.demo.engine import Engine
from tern.demo.errors import ApiError
from tern.demo.metrics import EngineMetrics
from tern.demo.model import Model
from tern.demo.text import TextCodec
from tern.demo.transport import render_api_error, render_fault, render_http_error


def create_app(directory: Path, name: str, max_num_seqs: int, max_model_len: int | None) -> Starlette:
    """Errors: CheckpointError when the files are not usable or are shorter than `max_model_len`."""
    model = Model(load_checkpoint(directory))
    limit = model.config.max_position_embeddings
    if max_model_len is not None and not 0 < max_model_len <= limit:
        raise CheckpointError(f"the checkpoint has {limit} positions, not {max_model_len}")
    codec = TextCodec(directory)
    metrics = EngineMetrics(name)
    engine = Engine(model, codec.token_bytes, metrics, max_num_seqs, max_model_len or limit)
    backend = Backend(name, engine, codec, read_defaults(directory), int(time.time()))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        steps = asyncio.create_task(engine.run())
        yield
        steps.cancel()
        with suppress(asyncio.CancelledError):
            await steps
        engine.close()

    handlers = {ApiError: render_api_error, HTTPException: render_http_error, Exception: render_fault}
    return Starlette(routes=Endpoints(backend, metrics).routes(), lifespan=lifespan, exception_handlers=handlers)


def read_defaults(directory: Path) -> dict[str, Any]:
    """Sampling defaults of the checkpoint, as vLLM takes them from generation_config.json."""
    try:
        raw: dict[str, Any] = json.loads((directory / "generation_config.json").read_text())
    except FileNotFoundError:
        return {}
    except ValueError as fault:
        raise CheckpointError(f"generation_config.json: {fault}") from fault
    return {field: raw[field] for field in ("temperature", "top_p", "top_k") if field in raw}
