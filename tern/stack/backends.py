"""What answers behind the gateway: replicas of the demo backend, or the servers that the user named."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2

from contracts.catalog import Capabilities
from tern.stack.home import Home
from tern.stack.process import Part, PartError, accepts_connections, free_port, spawn

DEMO_MODEL = "tern-demo"
DEMO_CONTEXT_TOKENS = 512
PROBE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Backend:
    """One model on one server, with what the server showed that it can do."""

    base_url: str
    model_name: str
    context_window_tokens: int
    capabilities: Capabilities


def start_demo_backends(home: Home, replicas: int) -> tuple[list[Part], list[Backend]]:
    """Replicas of the demo backend on free ports, all of them answering."""
    ports = [free_port() for _ in range(replicas)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tern.demo.server", "--name", DEMO_MODEL, "--port"]
    parts = [
        spawn(
            f"demo-backend-{index}",
            [*command, str(port)],
            home.log_directory,
            env=environment,
            run_in=home.checkout,
            stops_with_us=True,
        )
        for index, port in enumerate(ports, start=1)
    ]
    for part, port in zip(parts, ports, strict=True):
        part.wait_ready(lambda port=port: accepts_connections(port), 60)  # type: ignore[misc]
    capabilities = Capabilities(continuous_usage=True)
    return parts, [
        Backend(f"http://127.0.0.1:{port}/v1", DEMO_MODEL, DEMO_CONTEXT_TOKENS, capabilities) for port in ports
    ]


def discover(base_url: str) -> list[Backend]:
    """The models of the user's own server, each asked for two tokens to see how it reports usage.

    Raises PartError, in one sentence, when the server cannot be reached or is not OpenAI-compatible.
    """
    base_url = base_url.rstrip("/")
    try:
        with httpx2.Client(timeout=PROBE_SECONDS) as client:
            listed = client.get(f"{base_url}/models").raise_for_status().json()["data"]
            return [
                Backend(
                    base_url, model["id"], int(model.get("max_model_len") or 4096),
                    _capabilities(client, base_url, model["id"]),
                )
                for model in listed
            ]  # fmt: skip
    except httpx2.HTTPError as error:
        raise PartError(f"No OpenAI-compatible server answers at {base_url}/models: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise PartError(f"{base_url}/models does not answer with a list of models.") from error


def _capabilities(client: httpx2.Client, base_url: str, model: str) -> Capabilities:
    """What one short stream shows; a server that refuses the question is metered by counting its deltas."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Say hi."}],
        "max_tokens": 2,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }
    try:
        with client.stream("POST", f"{base_url}/chat/completions", json=body) as reply:
            if reply.is_error:
                return Capabilities(usage_in_stream=False)
            chunks = list(_chunks(reply))
    except (httpx2.HTTPError, ValueError):
        return Capabilities(usage_in_stream=False)
    return Capabilities(
        usage_in_stream=any(chunk.get("usage") for chunk in chunks),
        continuous_usage=any(chunk.get("usage") for chunk in chunks if chunk.get("choices")),
    )


def _chunks(reply: httpx2.Response) -> Iterator[dict[str, object]]:
    for line in reply.iter_lines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))
