"""The whole router on a real socket: the calls that succeed."""

from __future__ import annotations

from tests.router.conftest import MESSAGES, House


async def test_a_whole_answer_is_metered_as_reported(house: House) -> None:
    reply = await house.chat("tokens-5")
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["message"]["content"] == "word " * 5
    assert reply.json()["model"] == "model:tokens-5"
    [event] = await house.events()
    assert (event.tokens.input, event.tokens.output, event.usage_source) == (7, 5, "reported")
    assert event.cost_nano_usd == 7 * 1000 + 5 * 2000


async def test_a_stream_is_metered_as_reported(house: House) -> None:
    house.model("tokens-6", name="m")
    stream = await house.sdk().chat.completions.create(model="m", messages=MESSAGES, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "word " * 6
    [event] = await house.events()
    assert (event.tokens.output, event.usage_source, event.stream) == (6, "reported", True)
