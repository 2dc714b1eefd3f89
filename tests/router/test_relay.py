"""Failover before the first byte, streams that are extended or ended by the gateway, and signs of life."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts.catalog import Operation
from contracts.grant import LevelKind, SpendLimit
from contracts.pricing import Tokens
from contracts.usage_event import CallStatus
from router.ledger.memory_ledger import MemoryLedger
from router.ports import ExtendOutcome, LedgerUnavailableError, Reservation
from tests.fakes.serving import served
from tests.router.conftest import MESSAGES, House
from tests.router.test_upstream_faults import frames


@pytest.fixture
def router_settings() -> dict[str, Any]:
    return {
        "output_estimate_tokens": 4,
        "first_byte_timeout_seconds": 0.5,
        "ping_seconds": 0.1,
        "ledger_lost_seconds": 0.3,
        "eject_after_faults": 2,
        "answer_limit_bytes": 200_000,
    }


@pytest.fixture
async def pair(house: House) -> AsyncIterator[House]:
    """A house with two replicas."""
    async with served(house.spare, lifespan=False) as (url, _):
        house.catalog.base_urls.append(f"{url}/v1")
        yield house
        await house.at_rest()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", ["status", "refused"])
async def test_a_failed_replica_is_replaced_before_the_first_byte(pair: House, stream: bool, fault: str) -> None:
    if fault == "refused":
        pair.catalog.base_urls[0] = "http://127.0.0.1:1/v1"
    pair.upstream.fail_next = 100
    for _ in range(4):
        reply = await pair.chat("tokens-3", stream=stream)
        assert reply.status_code == 200
    assert len(pair.spare.calls) == 4
    assert len(pair.upstream.calls) <= 2
    events = await pair.events()
    assert [event.upstream_id for event in events] == ["model:tokens-3@1"] * 4
    assert len({event.event_id for event in events}) == 4


async def test_a_replica_that_hangs_is_replaced_before_the_first_byte(pair: House) -> None:
    pair.model("tokens-3")
    pair.catalog.upstreams[0] = pair.catalog.upstreams[0].model_copy(update={"model_name": "hang"})
    for _ in range(2):
        assert frames((await pair.chat("tokens-3", stream=True)).text)[-1] == "[DONE]"
    assert {event.upstream_id for event in await pair.events()} == {"model:tokens-3@1"}
    await pair.until(lambda: all(call.ended for call in pair.upstream.calls))


async def test_a_client_mistake_ejects_nobody_and_is_not_tried_again(pair: House) -> None:
    for _ in range(6):
        assert (await pair.chat("overflow")).status_code == 400
    assert len(pair.upstream.calls) + len(pair.spare.calls) == 6
    assert all(pair.app.walk.upstreams.state(upstream).healthy for upstream in pair.catalog.upstreams)


async def test_calls_that_make_every_server_answer_500_take_the_model_from_nobody(pair: House) -> None:
    for fake in (pair.upstream, pair.spare):
        fake.fail_next = 4
    for _ in range(4):
        assert (await pair.chat("tokens-1")).status_code == 502
    assert not any(pair.app.walk.upstreams.state(upstream).healthy for upstream in pair.catalog.upstreams)
    assert (await pair.chat("tokens-1")).status_code == 200


async def test_an_ejected_replica_comes_back_after_a_probe(pair: House) -> None:
    pair.upstream.fail_next = 2
    for _ in range(4):
        await pair.chat("tokens-1")
    state = pair.app.walk.upstreams.state(pair.catalog.upstreams[0])
    assert not state.healthy
    pair.app.walk.upstreams.succeeded(pair.catalog.upstreams[0])
    before = len(pair.upstream.calls)
    for _ in range(4):
        await pair.chat("tokens-1")
    assert len(pair.upstream.calls) > before


async def test_calls_spread_over_replicas_by_load(pair: House) -> None:
    await asyncio.gather(*(pair.chat("tokens-2+first-100") for _ in range(10)))
    assert (len(pair.upstream.calls), len(pair.spare.calls)) == (5, 5)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_over_the_limit_ejects_nobody_and_is_asked_for_once(pair: House, stream: bool) -> None:
    """A client chooses how large an answer is; it must not choose which upstreams others may use."""
    traits = "tokens-2+long-line" if stream else "tokens-100000"
    for _ in range(3):
        reply = await pair.chat(traits, stream=stream)
        assert reply.status_code == 502 or "upstream_error" in reply.text
    states = [pair.app.walk.upstreams.state(upstream) for upstream in pair.catalog.upstreams]
    assert [state.healthy for state in states] == [True, True]
    assert len(pair.upstream.calls) + len(pair.spare.calls) == 3


async def test_an_operation_that_one_replica_lacks_goes_to_the_other(pair: House) -> None:
    pair.model("tokens-2", name="m")
    pair.catalog.upstreams[0] = pair.catalog.upstreams[0].model_copy(update={"model_name": "no-responses"})
    for _ in range(3):
        assert (await pair.post({"model": "m", "input": "hi"}, "/v1/responses")).status_code == 200
    assert len(pair.upstream.calls) <= 1


async def test_an_operation_that_all_replicas_lack_is_the_clients_mistake(house: House) -> None:
    model = house.model("no-responses")
    reply = await house.post({"model": model, "input": "hi"}, "/v1/responses")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unsupported_endpoint")
    assert (await house.chat("no-responses")).status_code == 200


@pytest.mark.parametrize("status", [404, 501])
async def test_a_refusal_of_one_call_takes_no_operation_from_the_others(house: House, status: int) -> None:
    """A server that knows the path answers so to a call that asks for what it cannot do or does not have."""
    reply = await house.chat(f"status-{status}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unsupported_endpoint")
    assert house.app.walk.upstreams.state(house.catalog.upstreams[0]).lacks == frozenset()


async def test_a_server_that_comes_back_is_asked_again_for_what_it_lacked(house: House) -> None:
    model = house.model("no-responses")
    upstream, upstreams = house.catalog.upstreams[0], house.app.walk.upstreams
    await house.post({"model": model, "input": "hi"}, "/v1/responses")
    assert upstreams.state(upstream).lacks == {Operation.RESPONSE}
    for _ in range(3):
        upstreams.failed(upstream)
    upstreams.succeeded(upstream)
    assert upstreams.state(upstream).lacks == frozenset()


async def test_a_stream_past_its_estimate_is_extended_and_charged_in_full(house: House) -> None:
    reply = await house.chat("tokens-50+pace-1", stream=True)
    assert reply.text.count("word") == 50
    [event] = await house.events()
    assert (event.status, event.tokens.output) == (CallStatus.OK, 50)


async def test_a_spent_budget_ends_a_stream_well_formed_and_bounded(house: House) -> None:
    """Overspend is at most the tokens of one read after the last extension was refused."""
    limit_nano_usd = 400_000
    spend = {LevelKind.PROJECT: {"spend": (SpendLimit(limit_nano_usd=limit_nano_usd),)}}
    key = house.directory.issue("poor", levels=spend)
    model = house.model("tokens-250+pace-1")
    body = {"model": model, "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
    reply = await house.post(body, headers={"authorization": f"Bearer {key}"})
    *_, last, total, error, done = frames(reply.text)
    assert last["choices"][0]["finish_reason"] == "length"
    assert error["error"]["type"] == "insufficient_quota"
    assert done == "[DONE]"
    [event] = await house.events()
    assert total["usage"]["completion_tokens"] == event.tokens.output == house.upstream.tokens_sent < 250
    assert event.status is CallStatus.STOPPED
    assert limit_nano_usd * 0.8 < event.cost_nano_usd <= limit_nano_usd + 5 * 2000
    await house.until(lambda: house.upstream.calls[0].cancelled)


async def test_a_stream_of_a_revoked_key_ends_at_the_next_heartbeat(house: House) -> None:
    async with house.open_stream("tokens-250+pace-10") as reply:
        text = ""
        async for piece in reply.aiter_text():
            text += piece
            if text.count("word") == 5:
                house.directory.revoke(house.key)
    *_, last, error, done = frames(text)
    assert (last["choices"][0]["finish_reason"], error["error"]["code"]) == ("length", "invalid_api_key")
    assert done == "[DONE]"
    assert text.count("word") < 100
    [event] = await house.events()
    assert (event.status, event.tokens.output) == (CallStatus.STOPPED, house.upstream.tokens_sent)


async def test_a_silent_stream_gives_signs_of_life_and_may_still_fail_over(pair: House) -> None:
    pair.model("tokens-3")
    pair.catalog.upstreams[:] = [
        upstream.model_copy(update={"model_name": name})
        for upstream, name in zip(pair.catalog.upstreams, ["hang", "tokens-3+first-300"], strict=True)
    ]
    reply = await pair.chat("tokens-3", stream=True)
    assert reply.text.startswith(": ping\n\n")
    assert reply.text.count("word") == 3
    assert frames(reply.text)[-1] == "[DONE]"


async def test_after_a_sign_of_life_a_failure_becomes_a_frame(house: House) -> None:
    reply = await house.chat("hang", stream=True)
    assert (reply.status_code, reply.text.startswith(": ping\n\n")) == (200, True)
    error, done = frames(reply.text)
    assert (error["error"]["code"], done) == ("upstream_timeout", "[DONE]")
    assert await house.events() == []


async def test_shutdown_ends_streams_well_formed(house: House) -> None:
    async with house.open_stream("tokens-250+pace-10") as reply:
        text = ""
        async for piece in reply.aiter_text():
            text += piece
            if text.count("word") == 3:
                house.app.stop_streams()
    *_, error, done = frames(text)
    assert (error["error"]["code"], done) == ("server_is_overloaded", "[DONE]")
    [event] = await house.events()
    assert event.tokens.output == house.upstream.tokens_sent


class FailingLedger(MemoryLedger):
    """Answers until told not to."""

    down = False

    async def extend(
        self, reservation: Reservation, counted: Tokens, more_nano_usd: int = 0, more_tokens: int = 0
    ) -> ExtendOutcome:
        if self.down:
            raise LedgerUnavailableError
        return await super().extend(reservation, counted, more_nano_usd, more_tokens)


class TestWithoutLedger:
    @pytest.fixture
    def ledger(self) -> FailingLedger:
        return FailingLedger()

    async def test_a_stream_that_cannot_be_extended_ends_after_a_while(
        self, house: House, ledger: FailingLedger
    ) -> None:
        async with house.open_stream("tokens-250+pace-5") as reply:
            text = ""
            async for piece in reply.aiter_text():
                text += piece
                ledger.down = ledger.down or text.count("word") >= 2
        *_, error, done = frames(text)
        assert (error["error"]["code"], done) == ("limits_unavailable", "[DONE]")
        [event] = await house.events()
        assert event.tokens.output == house.upstream.tokens_sent

    async def test_a_whole_call_outlives_a_short_outage(self, house: House, ledger: FailingLedger) -> None:
        ledger.down = True
        assert (await house.chat("tokens-2+first-500")).status_code == 200


async def test_a_retry_inside_the_gateway_is_billed_once(pair: House) -> None:
    pair.upstream.fail_next = pair.spare.fail_next = 1
    reply = await pair.chat("tokens-3")
    assert reply.status_code == 502
    assert (await pair.chat("tokens-3")).status_code == 200
    assert len(await pair.events()) == 1


async def test_the_engines_fingerprint_is_put_back(house: House) -> None:
    reply = await house.chat("tokens-2+fingerprint", stream=True)
    *_, last, done = frames(reply.text)
    assert (last["system_fingerprint"], done) == ("fp_fake", "[DONE]")
    assert "usage" not in reply.text


async def test_only_the_gateways_headers_reach_an_upstream(house: House) -> None:
    house.model("tokens-1", name="m")
    await house.post(
        {"model": "m", "messages": MESSAGES, "priority": 5},
        headers={"cookie": "a=b", "openai-beta": "x", "x-vllm-priority": "1", "x-stainless-lang": "python"},
    )
    [call] = house.upstream.calls
    assert set(call.headers) == {
        "host", "accept-encoding", "content-type", "content-length", "x-request-id"
    }  # fmt: skip
    assert call.headers["accept-encoding"] == "identity"
    assert json.dumps(call.body) == json.dumps({"model": "tokens-1", "messages": MESSAGES})
