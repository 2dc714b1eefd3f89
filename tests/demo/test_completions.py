"""Plain completions, embeddings and the utility paths."""

from __future__ import annotations

import base64

import httpx2
import numpy as np
from openai import AsyncOpenAI

from tern.demo.text import TextCodec
from tests.demo.reading import MODEL, metric


async def test_a_text_and_its_token_ids_are_completed_alike(client: AsyncOpenAI, codec: TextCodec) -> None:
    prompt = "Once upon a time"
    by_text = await client.completions.create(model=MODEL, prompt=prompt, temperature=0, max_tokens=20)
    by_ids = await client.completions.create(
        model=MODEL, prompt=codec.encode(prompt), temperature=0, max_tokens=20
    )
    assert by_text.choices[0].text == by_ids.choices[0].text != ""
    assert by_text.usage == by_ids.usage


async def test_several_prompts_are_numbered_prompt_by_prompt(client: AsyncOpenAI) -> None:
    prompts = ["Once upon a time", "A fox is"]
    reply = await client.completions.create(
        model=MODEL, prompt=prompts, n=2, max_tokens=5, seed=3, temperature=1, extra_body={"ignore_eos": True}
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert reply.usage and reply.usage.completion_tokens == 4 * 5


async def test_echo_puts_the_prompt_in_front(client: AsyncOpenAI) -> None:
    prompt = "A gateway stands"
    plain = await client.completions.create(model=MODEL, prompt=prompt, temperature=0, max_tokens=8)
    echoed = await client.completions.create(model=MODEL, prompt=prompt, temperature=0, max_tokens=8, echo=True)
    stream = await client.completions.create(
        model=MODEL, prompt=prompt, temperature=0, max_tokens=8, echo=True, stream=True
    )
    streamed = "".join([chunk.choices[0].text async for chunk in stream])
    assert echoed.choices[0].text == prompt + plain.choices[0].text == streamed


async def test_logprobs_name_tokens_and_their_places(client: AsyncOpenAI) -> None:
    reply = await client.completions.create(model=MODEL, prompt="A fox", temperature=0, max_tokens=6, logprobs=2)
    choice = reply.choices[0]
    assert choice.logprobs and choice.logprobs.tokens and choice.logprobs.text_offset
    assert "".join(choice.logprobs.tokens).removesuffix("<|end|>") == choice.text
    for token, place in zip(choice.logprobs.tokens, choice.logprobs.text_offset, strict=True):
        assert choice.text[place:].startswith(token.replace("<|end|>", ""))
    assert all(len(best) == 2 for best in choice.logprobs.top_logprobs or [])


async def test_embeddings_are_unit_vectors_in_both_encodings(
    client: AsyncOpenAI, http: httpx2.AsyncClient
) -> None:
    texts = ["A fox lives in the forest.", "An invoice is due."]
    from_sdk = await client.embeddings.create(model=MODEL, input=texts)  # the SDK asks for base64
    floats = (await http.post("/v1/embeddings", json={"input": texts, "encoding_format": "float"})).json()
    coded = (await http.post("/v1/embeddings", json={"input": texts, "encoding_format": "base64"})).json()
    for index in range(2):
        vector = np.array(floats["data"][index]["embedding"], np.float32)
        assert vector.shape == (256,)
        assert np.isclose(np.linalg.norm(vector), 1, atol=1e-5)
        assert np.array_equal(vector, np.frombuffer(base64.b64decode(coded["data"][index]["embedding"]), "<f4"))
        assert np.allclose(vector, from_sdk.data[index].embedding)
    assert floats["usage"]["prompt_tokens"] == floats["usage"]["total_tokens"] == from_sdk.usage.prompt_tokens


async def test_near_texts_have_near_embeddings(client: AsyncOpenAI) -> None:
    texts = ["Where does a fox live?", "Where does a wolf live?", "How do I make pancakes?"]
    reply = await client.embeddings.create(model=MODEL, input=texts)
    fox, wolf, pancakes = (np.array(item.embedding) for item in reply.data)
    assert fox @ wolf > fox @ pancakes


async def test_the_model_is_listed_as_the_demo_backend(client: AsyncOpenAI, http: httpx2.AsyncClient) -> None:
    (model,) = (await client.models.list()).data
    assert (model.id, model.owned_by) == (MODEL, "tern-demo-backend")
    assert model.model_extra and model.model_extra["max_model_len"] == 2048
    assert (await http.get("/health")).headers["server"] == "tern-demo-backend"
    assert (await http.get("/version")).json()["server"] == "tern-demo-backend"


async def test_tokenize_and_detokenize_are_inverse(http: httpx2.AsyncClient) -> None:
    counted = (await http.post("/tokenize", json={"prompt": "Grüße, 世界 🦊"})).json()
    assert counted["count"] == len(counted["tokens"]) and counted["max_model_len"] == 2048
    text = (await http.post("/detokenize", json={"tokens": counted["tokens"]})).json()
    assert text == {"prompt": "Grüße, 世界 🦊"}


async def test_counters_equal_the_usage_of_the_replies(narrow_http: httpx2.AsyncClient) -> None:
    names = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:request_success_total")
    before = [await metric(narrow_http, name) for name in names]
    body = {"prompt": "The weather", "max_tokens": 9}
    usages = [(await narrow_http.post("/v1/completions", json=body)).json()["usage"] for _ in range(3)]
    after = [await metric(narrow_http, name) for name in names]
    prompts = sum(usage["prompt_tokens"] for usage in usages)
    completions = sum(usage["completion_tokens"] for usage in usages)
    assert [new - old for new, old in zip(after, before, strict=True)] == [prompts, completions, 3]
