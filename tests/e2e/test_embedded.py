"""`tern up` as a stranger meets it: one command, any OpenAI client, a report, a restart that remembers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import openai
import psutil
import pytest
from openai import OpenAI

from tern.stack.home import Home
from tern.stack.process import Part, free_port, spawn
from tests.e2e.product import ROOT
from tests.parts.servers import folder

QUESTION = [{"role": "user", "content": "Tell me about the weather."}]


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    with folder("up") as directory:
        yield directory
        for name in ("home", "other"):
            shutil.rmtree(Home((directory / name).resolve()).postgres_directory, ignore_errors=True)


@contextmanager
def tern_up(state: Path, port: int, *options: str) -> Iterator[Part]:
    """The product, until Ctrl-C."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TERN_", "OPENAI_"))}
    argv = [sys.executable, "-m", "tern", "up", "--home", str(state / "home"), "--port", str(port), *options]
    (state / "up.log").unlink(missing_ok=True)
    part = spawn("up", argv, state, env=environment, stop_signal=signal.SIGINT, run_in=ROOT)
    part.wait_ready(lambda: "Tern is up" in part.log_tail(), 90)
    try:
        assert httpx2.get(f"http://127.0.0.1:{port}/ready").json() == {"status": "ready"}
        yield part
    finally:
        part.stop(grace_seconds=30)


def environment_of(state: Path) -> dict[str, str]:
    lines = (state / "home" / "env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def clients(state: Path) -> tuple[OpenAI, OpenAI]:
    env = environment_of(state)
    url = env["OPENAI_BASE_URL"]
    user = OpenAI(base_url=url, api_key=env["OPENAI_API_KEY"], max_retries=0)
    return user, OpenAI(base_url=url, admin_api_key=env["OPENAI_ADMIN_KEY"], api_key="", max_retries=0)


def test_a_stranger_gets_an_answer_a_report_and_their_state_back(state: Path) -> None:
    port = free_port()
    with tern_up(state, port) as part:
        assert stat.S_IMODE((state / "home" / "env").stat().st_mode) == 0o600
        user, admin = clients(state)
        with user, admin:
            every_endpoint(user)
            administer(admin)
            counted = report(admin, at_least=6)
        children = psutil.Process(part.process.pid).children(recursive=True)
        assert len(children) >= 4
    assert part.process.returncode == 0
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    kept = environment_of(state)
    with tern_up(state, port):
        assert environment_of(state) == kept
        user, admin = clients(state)
        with user, admin:
            assert report(admin, at_least=counted) == counted
            assert user.models.list().data[0].id == "tern-demo"


def every_endpoint(user: OpenAI) -> None:
    model = user.models.list().data[0].id
    assert user.models.retrieve(model).id == model
    whole = user.chat.completions.create(model=model, messages=QUESTION, temperature=0, max_tokens=40)
    text = whole.choices[0].message.content or ""
    assert whole.usage is not None
    assert len(text.split()) > 4
    stream = user.chat.completions.create(
        model=model, messages=QUESTION, temperature=0, max_tokens=40, stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == text
    asked = user.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    assert list(asked)[-1].usage is not None
    assert user.completions.create(model=model, prompt="The river", max_tokens=5).choices[0].text
    assert len(user.embeddings.create(model=model, input=["a river", "a stone"]).data) == 2
    with pytest.raises(openai.NotFoundError):
        user.chat.completions.create(model="no-such-model", messages=QUESTION)


def administer(admin: OpenAI) -> None:
    project = admin.admin.organization.projects.create(name="Research")
    account = admin.admin.organization.projects.service_accounts.create(project.id, name="crawler")
    assert account.api_key is not None
    with OpenAI(base_url=admin.base_url, api_key=account.api_key.value, max_retries=0) as crawler:
        crawler.embeddings.create(model="tern-demo", input="a river")


def report(admin: OpenAI, at_least: int) -> int:
    """How many calls the report shows, within two seconds of the last."""
    asked_at, usage = time.monotonic(), admin.admin.organization.usage
    window = {"start_time": int(time.time()) - 86_400}
    while True:
        pages = (usage.completions(**window), usage.embeddings(**window))
        results = [result for page in pages for bucket in page.data for result in bucket.results]
        count = sum(result.num_model_requests for result in results)  # type: ignore[union-attr]
        if count >= at_least or time.monotonic() - asked_at > 2:
            assert count >= at_least
            return count
        time.sleep(0.05)


def test_a_taken_port_is_one_sentence(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        argv = [sys.executable, "-m", "tern", "up", "--home", str(state / "other"), "--port", str(port)]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1
    assert f"Port {port} is taken" in said
    assert "Traceback" not in said


def test_a_backend_that_does_not_answer_is_one_sentence(state: Path) -> None:
    argv = [sys.executable, "-m", "tern", "up", "--home", str(state / "other"), "--port", "0"]
    argv += ["--backend", f"http://127.0.0.1:{free_port()}/v1"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1
    assert "No OpenAI-compatible server answers" in said
    assert "Traceback" not in said


def test_a_killed_stack_starts_again(state: Path) -> None:
    port = free_port()
    with tern_up(state, port) as part:
        part.process.kill()
        part.process.wait()
    with tern_up(state, port):
        user, admin = clients(state)
        with user, admin:
            assert user.models.list().data
