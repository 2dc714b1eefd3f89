"""The commands that a deployment runs: migrate as a job, then serve until SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx2

from tern.stack.process import free_port, spawn
from tests.org_service.conftest import SERVICE_TOKEN

ROOT = Path(__file__).parents[2]


def test_migrate_then_serve_then_stop(database_url: str, redis_server_url: str) -> None:
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TERN_ORG_")} | {
        "TERN_ORG_DATABASE_URL": database_url,
        "TERN_ORG_REDIS_URL": redis_server_url,
        "TERN_ORG_SERVICE_TOKEN": SERVICE_TOKEN,
        "TERN_ORG_LISTEN_PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    module = [sys.executable, "-m", "org_service"]
    with tempfile.TemporaryDirectory() as directory, ExitStack() as started:
        serving = spawn("org_service", [*module, "serve"], Path(directory), env=environ)
        started.callback(serving.stop)
        serving.wait_ready(lambda: status(port, "/health") == 200, 60)
        assert status(port, "/ready") == 503
        for phase in ("pre", "post"):
            subprocess.run([*module, "migrate", phase], env=environ, cwd=ROOT, check=True, capture_output=True)
        assert status(port, "/ready") == 200
        serving.process.send_signal(signal.SIGTERM)
        assert serving.process.wait(20) in (0, -signal.SIGTERM)
        assert '"event": "request"' in serving.log_tail()


def status(port: int, path: str) -> int:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}{path}", timeout=10).status_code
    except httpx2.ConnectError:
        time.sleep(0.1)
        return 0
