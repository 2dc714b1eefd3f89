"""Health, readiness, metrics and logs of the whole router."""

from __future__ import annotations

import asyncio

import pytest

from contracts.grant import LevelKind, RateLimit
from router.duties.probe import Probe
from tests.router.conftest import House

CANARY = "zebra-quartz-canary"


async def test_health_and_readiness(house: House) -> None:
    assert (await house.http.get("/health")).json() == {"status": "ok"}
    assert (await house.http.get("/ready")).json() == {"status": "ready"}
    house.app.drain()
    reply = await house.http.get("/ready")
    assert (reply.status_code, reply.json()["because"]) == (503, ["draining"])
    assert reply.headers["connection"] == "close"
    assert (await house.http.get("/health")).status_code == 200


async def test_every_stop_is_counted(house: House) -> None:
    limits = {LevelKind.PROJECT: {"rates": (RateLimit(requests_per_minute=1),)}}
    house.key = house.directory.issue("2", levels=limits)
    await house.chat("tokens-3")
    await house.chat("tokens-3")
    text = (await house.http.get("/metrics")).text
    for line in (
        'outcome="settled",source="reported",status="ok"} 1.0',
        'tern_router_settle_tokens_total{kind="output",model="model:tokens-3"} 3.0',
        'tern_router_admit_refused_total{dimension="requests",level="project"} 1.0',
        'tern_router_receive_replies_total{path="/v1/chat/completions",status="429"} 1.0',
        "tern_router_relay_open_calls 0.0",
    ):
        assert line in text
    assert "org_1" not in text and "key_1" not in text


async def test_a_prompt_is_in_no_log_line_and_no_metric(house: House) -> None:
    house.model("tokens-3", name="m")
    house.model("overflow", name="overflowing")
    messages = [{"role": "user", "content": CANARY}]
    for model in ("m", "overflowing", CANARY):
        for stream in (True, False):
            await house.post({"model": model, "messages": messages, "stream": stream, "user": CANARY})
    await house.post(f'{{"model":"m","messages":[{{"content":"{CANARY}"}}]'.encode())
    assert CANARY not in house.log.getvalue()
    assert house.key not in house.log.getvalue()
    assert CANARY not in (await house.http.get("/metrics")).text


async def test_each_call_has_one_line_that_its_request_id_finds(house: House) -> None:
    reply = await house.chat("tokens-3", stream=True)
    [line] = [line for line in house.log_lines() if line["request_id"] == reply.headers["x-request-id"]]
    assert line["event"] == "call"
    assert (line["status"], line["output_tokens"], line["key_id"]) == (200, 3, "key_1")


async def test_the_clients_own_request_id_is_logged_bounded(house: House) -> None:
    await house.http.get("/v1/models", headers={"x-client-request-id": "x" * 500})
    assert house.log_lines()[-1]["client_request_id"] == "x" * 128


async def test_ids_are_uuids_of_version_7_in_order_of_time(house: House) -> None:
    ids = []
    for _ in range(3):
        ids.append((await house.http.get("/health")).headers["x-request-id"])
        await asyncio.sleep(0.002)
    assert ids == sorted(ids)
    assert {(text[14], text[19] in "89ab", len(text)) for text in ids} == {("7", True, 36)}


@pytest.mark.parametrize("load", [None, 5])
async def test_a_probe_ejects_readmits_and_reads_the_load(house: House, load: int | None) -> None:
    house.model("tokens-1")
    walk = house.app.walk
    probe = Probe(walk.snapshots, walk.upstreams, 0.5, house.app.log)
    state = walk.upstreams.state(house.catalog.upstreams[0])
    house.upstream.healthy = False
    for _ in range(3):
        await probe.probe_all()
    assert not state.healthy
    house.upstream.healthy, house.upstream.load = True, load
    await probe.probe_all()
    assert state.healthy
    assert state.load == (load or 0)
