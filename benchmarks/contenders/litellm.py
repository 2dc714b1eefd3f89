"""LiteLLM's proxy, as its production page advises: one worker, quiet logs. No database: no budgets, no spend.

It refuses to start without a master key, so that one key is checked.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders.contract import Site, Standing
from benchmarks.contenders.peer import Peer, standing_peer
from benchmarks.load import Target
from benchmarks.upstream import MODEL
from tern.stack.process import free_port

ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
}


@dataclass(frozen=True)
class LiteLLM(Peer):
    name: str = "litellm"

    @contextmanager
    def start(self, site: Site) -> Iterator[Standing]:
        port = free_port()
        config = site.work / self.name / "config.json"
        config.write_text(json.dumps(configuration(site.upstream_url)))
        argv: list[str | Path] = [
            site.work / self.name / "bin/litellm", "--config", config,
            "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1",
        ]  # fmt: skip
        key = f"sk-{secrets.token_hex(32)}"
        target = Target(f"http://127.0.0.1:{port}/v1", MODEL, {"authorization": f"Bearer {key}"})
        env = ENVIRONMENT | {"LITELLM_MASTER_KEY": key}
        with standing_peer(self.name, argv, port, target, site, env) as standing:
            yield standing


def configuration(upstream_url: str) -> dict[str, object]:
    """LiteLLM reads YAML; JSON is YAML."""
    route = {"model": f"openai/{MODEL}", "api_base": f"{upstream_url}/v1", "api_key": "none"}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": route}],
        "litellm_settings": {"request_timeout": 600, "set_verbose": False, "json_logs": True},
    }
