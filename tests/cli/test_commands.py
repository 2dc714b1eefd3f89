"""Every command against the product itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cli.conftest import ROOT, clean_environment


def data_of(result: Any) -> Any:
    return json.loads(result.stdout)


def call(environment: dict[str, str], key: str) -> httpx2.Response:
    body = {"model": "tern-demo", "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 2}
    url = f"{environment['OPENAI_BASE_URL']}/chat/completions"
    return httpx2.post(url, json=body, headers={"authorization": f"Bearer {key}"}, timeout=60)


def test_a_key_lives_from_its_creation_to_its_revocation(tern: Any, gateway_environment: dict[str, str]) -> None:
    made = data_of(tern("--json", "keys", "create", "ci", "--expires", "30d", "--model", "tern-demo"))
    assert call(gateway_environment, made["value"]).status_code == 200
    assert made["expires_at"] - made["created_at"] == 30 * 86400
    listed = tern("keys", "list").stdout
    assert made["id"] in listed
    assert made["value"] not in listed
    rotated = data_of(tern("--json", "keys", "rotate", made["id"], "--grace", "1h"))
    assert rotated["value"] != made["value"]
    assert call(gateway_environment, rotated["value"]).status_code == 200
    assert call(gateway_environment, made["value"]).status_code == 200
    tern("keys", "revoke", made["id"])
    time.sleep(1.5)
    for value in (made["value"], rotated["value"]):
        assert call(gateway_environment, value).status_code == 401


def test_a_secret_is_shown_once_to_a_person(tern: Any) -> None:
    result = tern("keys", "create", "person")
    (secret,) = [line for line in result.stdout.splitlines() if line.startswith("tern_sk_")]
    assert "not shown again" in result.stdout
    assert secret not in tern("--json", "keys", "list").stdout


def test_a_limit_on_a_key_is_set_kept_beside_others_and_lifted(tern: Any) -> None:
    key = data_of(tern("--json", "keys", "create", "limited", "--spend", "1.50", "--per", "day", "--rpm", "60"))
    tern("limits", "set", "--key", key["id"], "--spend", "20", "--tpm", "9000")
    limits = data_of(tern("--json", "limits", "set", "--key", key["id"], "--rpm", "5", "--model", "tern-demo"))
    assert {(part["interval"], part["threshold_amount"]) for part in limits["spend"]} == {
        ("day", 150), ("month", 2000),
    }  # fmt: skip
    rates = {part["model"]: part for part in limits["rates"]}
    assert (rates[None]["max_requests_per_1_minute"], rates[None]["max_tokens_per_1_minute"]) == (60, 9000)
    assert rates["tern-demo"]["max_requests_per_1_minute"] == 5
    shown = tern("limits", "show", "--key", key["id"]).stdout
    assert "$1.50" in shown
    assert "9,000" in shown
    lifted = data_of(tern("--json", "limits", "lift", "--key", key["id"]))
    assert (lifted["spend"], lifted["rates"], lifted["max_concurrent_requests"]) == ([], [], None)


def test_a_budget_of_zero_stops_a_key(tern: Any, gateway_environment: dict[str, str]) -> None:
    key = data_of(tern("--json", "keys", "create", "poor", "--spend", "0"))
    refused = call(gateway_environment, key["value"])
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "insufficient_quota")
    stopped = tern("chat", "hi", fails=1, OPENAI_API_KEY=key["value"])
    assert "spend" in stopped.stderr


def test_a_project_is_created_needed_and_archived(tern: Any) -> None:
    made = data_of(tern("--json", "projects", "create", "Bracket [red]s"))
    ambiguous = tern("keys", "list", fails=2)
    assert "--project" in ambiguous.stderr
    assert "Bracket [red]s" in tern("projects").stdout
    key = data_of(tern("--json", "keys", "create", "there", "--project", "Bracket [red]s"))
    tern("keys", "rotate", key["id"])
    assert tern("projects", "archive", made["id"]).exit_code == 0
    assert made["id"] not in tern("projects").stdout
    assert made["id"] in tern("projects", "list", "--archived").stdout


def test_models_show_prices_and_change_them(tern: Any) -> None:
    tern("models", "alias", "small", "tern-demo")
    tern("models", "price", "tern-demo", "--input", "0.25", "--output", "1", "--cached-input", "0.05")
    (model,) = data_of(tern("--json", "models"))
    assert model["aliases"] == ["small"]
    assert model["price"]["input_nano_usd_per_million"] == 250_000_000
    assert len(model["upstreams"]) == 2
    shown = tern("models").stdout
    assert "$0.25" in shown
    assert "$1.00" in shown


def test_models_without_an_admin_key_are_those_that_the_key_may_call(tern: Any) -> None:
    listed = tern("models", OPENAI_ADMIN_KEY="tern_admin_wrong").stdout
    assert "tern-demo" in listed


def test_an_answer_streams_and_is_in_the_usage_two_seconds_later(tern: Any) -> None:
    key = data_of(tern("--json", "keys", "create", "chatty"))
    answer = tern("chat", "Hello.", "--max-tokens", "12", "--temperature", "0", OPENAI_API_KEY=key["value"])
    assert answer.stdout.strip()
    time.sleep(2)
    report = data_of(tern("--json", "usage", "--by", "key", "--days", "2"))
    (line,) = [line for line in report["lines"] if line["name"] == key["id"]]
    assert line["requests"] == 1
    assert 0 < line["output_tokens"] <= 12
    assert line["cost_nano_usd"] > 0
    assert len(report["tokens"]) == 2
    table = tern("usage", "--by", "key", "--minutes", "3").stdout
    assert key["id"] in table
    assert "█" in table


def test_usage_by_each_dimension_has_one_total(tern: Any) -> None:
    tern("chat", "Hi.", "--max-tokens", "2")
    time.sleep(2)
    reports = [data_of(tern("--json", "usage", "--by", by)) for by in ("key", "model", "project", "user")]
    totals = [sum(line["cost_nano_usd"] for line in report["lines"]) for report in reports]
    assert len(set(totals)) == 1
    assert totals[0] > 0


def test_a_prompt_comes_through_a_pipe(tern: Any) -> None:
    assert tern("chat", "--max-tokens", "5", stdin="What is the weather?\n").stdout.strip()
    assert "nothing to ask" in tern("chat", fails=2, stdin="").stderr


def test_a_talk_goes_on_until_an_empty_line(gateway_environment: dict[str, str]) -> None:
    ours, theirs = os.openpty()
    argv = [sys.executable, "-m", "tern", "chat", "--max-tokens", "8"]
    environment = clean_environment() | gateway_environment
    with subprocess.Popen(
        argv, cwd=ROOT, env=environment, stdin=theirs, stdout=subprocess.PIPE, text=True
    ) as talk:
        os.write(ours, b"Hello.\nAnd the weather?\n\n")
        said, _ = talk.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert talk.returncode == 0
    assert len([line for line in said.splitlines() if line.startswith("you ")]) == 3
    assert len(said.split()) > 8


def test_a_taken_port_is_one_sentence(gateway_environment: dict[str, str], tmp_path: Path) -> None:
    port = gateway_environment["OPENAI_BASE_URL"].rpartition(":")[2].removesuffix("/v1")
    argv = [sys.executable, "-m", "tern", "up", "--port", port, "--home", str(tmp_path / "home")]
    result = subprocess.run(argv, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert f"Port {port} is taken" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_the_doctor_finds_nothing_wrong_with_a_healthy_stack(tern: Any) -> None:
    findings = data_of(tern("--json", "doctor"))
    assert [found for found in findings if found["mend"]] == []
    assert any("a call to tern-demo works" in found["what"] for found in findings)


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        ({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, "does not answer"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:9"}, "must end in /v1"),
        ({"OPENAI_API_KEY": "sk-other"}, "no key of Tern's"),
        ({"OPENAI_API_KEY": "tern_sk_hqy8e7Gv25yWu0pilb6PUfOHwCMjZGnha48bMgjyf9v0AKnh5"}, "refused"),
        ({"OPENAI_ADMIN_KEY": "tern_sk_hqy8e7Gv25yWu0pilb6PUfOHwCMjZGnha48bMgjyf9v0AKnh5"}, "another kind"),
    ],
)
def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(
    tern: Any, environment: dict[str, str], what: str
) -> None:
    result = tern("doctor", fails=1, **environment)
    assert what in result.stdout
    assert "mend:" in result.stdout


def test_the_doctor_misses_a_price(tern: Any, gateway_environment: dict[str, str]) -> None:
    headers = {"authorization": f"Bearer {gateway_environment['OPENAI_ADMIN_KEY']}"}
    url = f"{gateway_environment['OPENAI_BASE_URL']}/organization/models"
    httpx2.post(url, json={"id": "unpriced"}, headers=headers).raise_for_status()
    try:
        result = tern("doctor", "--no-call", fails=1)
        assert "unpriced has no price" in result.stdout
        assert "no server serves unpriced" in result.stdout
        assert "no price: refused" in tern("models").stdout
    finally:
        httpx2.delete(f"{url}/unpriced", headers=headers).raise_for_status()
