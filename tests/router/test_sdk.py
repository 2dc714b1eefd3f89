"""The OpenAI SDK is the client: every endpoint, whole and as a stream."""

from __future__ import annotations

import openai
import pytest

from contracts.grant import LevelKind, ModelPermission, PermissionMode, SpendLimit
from tests.router.conftest import MESSAGES, House

WORDS = "word " * 4


@pytest.fixture
def ready_house(house: House) -> House:
    house.model("tokens-4", name="Org/Model-1")
    house.catalog.aliases["short"] = "Org/Model-1"
    return house


async def test_chat(ready_house: House) -> None:
    raw = await ready_house.sdk().chat.completions.with_raw_response.create(model="short", messages=MESSAGES)
    reply = raw.parse()
    assert (reply.model, reply.choices[0].message.content, reply.usage.total_tokens) == ("short", WORDS, 11)
    assert raw.headers["openai-organization"] == "org_1"
    assert raw.headers["openai-project"] == "proj_1"
    assert raw.headers["openai-version"] == "2020-10-01"
    assert raw.headers["openai-processing-ms"].isdigit()
    [event] = await ready_house.events()
    assert (event.event_id, event.model_id) == (reply._request_id, "Org/Model-1")


@pytest.mark.parametrize("include", [True, False])
async def test_chat_stream(ready_house: House, include: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if include else {}
    chat = ready_house.sdk().chat.completions
    stream = await chat.create(model="short", messages=MESSAGES, stream=True, **options)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == WORDS
    assert {chunk.model for chunk in chunks} == {"short"}
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([11] if include else [])


async def test_chat_with_many_choices(ready_house: House) -> None:
    stream = await ready_house.sdk().chat.completions.create(model="short", messages=MESSAGES, stream=True, n=3)
    texts = {0: "", 1: "", 2: ""}
    async for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert set(texts.values()) == {WORDS}
    [event] = await ready_house.events()
    assert event.tokens.output == 12


async def test_completions(ready_house: House) -> None:
    client = ready_house.sdk()
    reply = await client.completions.create(model="short", prompt=["a", "b"])
    assert [choice.text for choice in reply.choices] == [WORDS, WORDS]
    stream = await client.completions.create(model="short", prompt="a", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == WORDS
    assert [event.tokens.output for event in await ready_house.events()] == [8, 4]


async def test_embeddings(ready_house: House) -> None:
    reply = await ready_house.sdk().embeddings.create(model="short", input="text", encoding_format="float")
    assert (reply.data[0].embedding, reply.model) == ([0.5, -0.25], "short")
    [event] = await ready_house.events()
    assert (event.tokens.input, event.tokens.output, event.operation) == (7, 0, "embeddings")


async def test_responses(ready_house: House) -> None:
    reply = await ready_house.sdk().responses.create(model="short", input="hi")
    assert (reply.model, reply.output_text, reply.usage.output_tokens) == ("short", WORDS, 4)
    [event] = await ready_house.events()
    tokens = event.tokens
    assert (tokens.input, tokens.cached_input, tokens.output, tokens.reasoning_output) == (7, 3, 4, 2)


async def test_responses_stream(ready_house: House) -> None:
    stream = await ready_house.sdk().responses.create(model="short", input="hi", stream=True)
    events = [event async for event in stream]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == WORDS
    assert (events[-1].type, events[-1].response.model) == ("response.completed", "short")
    [event] = await ready_house.events()
    assert (event.tokens.output, event.usage_source) == (4, "reported")


async def test_a_broken_responses_stream_ends_with_an_error_event(house: House) -> None:
    house.model("tokens-9+cut-after-2", name="m")
    stream = await house.sdk().responses.create(model="m", input="hi", stream=True)
    events = [event async for event in stream]
    assert (events[-1].type, events[-1].code) == ("error", "upstream_error")
    [event] = await house.events()
    assert (event.tokens.output, event.usage_source) == (2, "counted")


async def test_models_are_those_the_key_may_use(ready_house: House) -> None:
    ready_house.model("tokens-1", name="hidden")
    ready_house.model("tokens-1", name="unpriced", prices=())
    allowed = ModelPermission(mode=PermissionMode.ALLOW_LIST, model_ids=frozenset({"Org/Model-1", "unpriced"}))
    client = ready_house.sdk(ready_house.directory.issue("2", permissions=(allowed,)))
    listed = [model.id async for model in client.models.list()]
    assert listed == ["Org/Model-1", "short"]
    assert (await client.models.retrieve("Org/Model-1")).id == "Org/Model-1"
    assert (await client.models.retrieve("short")).owned_by == "tern"
    for hidden in ("hidden", "unpriced", "nothing"):
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve(hidden)


async def test_errors_are_the_sdks_own(ready_house: House) -> None:
    with pytest.raises(openai.AuthenticationError):
        await ready_house.sdk("wrong").models.list()
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        await ready_house.sdk().chat.completions.create(model="nothing", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError, match="Unknown request URL"):
        await ready_house.sdk().moderations.create(input="x")
    with pytest.raises(openai.BadRequestError):
        await ready_house.sdk().chat.completions.create(model="short", messages=MESSAGES, max_tokens=-1)
    limits = {LevelKind.KEY: {"spend": (SpendLimit(limit_nano_usd=1),)}}
    poor = ready_house.sdk(ready_house.directory.issue("3", levels=limits))
    with pytest.raises(openai.RateLimitError) as caught:
        await poor.chat.completions.create(model="short", messages=MESSAGES)
    assert caught.value.code == "api_key_spend_limit_exceeded"
    assert caught.value.request_id


async def test_the_clients_patience_is_the_upstreams_deadline(house: House) -> None:
    house.model("hang", name="m")
    with pytest.raises(openai.APITimeoutError):
        await house.sdk(timeout=1.2).chat.completions.create(model="m", messages=MESSAGES)
    await house.until(lambda: house.upstream.calls[0].cancelled)
