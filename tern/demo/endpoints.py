"""The paths of the demo backend: OpenAI's generation endpoints and vLLM's utility endpoints."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tern.demo import asking
from tern.demo.asking import Backend
from tern.demo.bodies import ChatBody, CompletionBody, DetokenizeBody, EmbeddingBody, GenerationBody, TokenizeBody
from tern.demo.checkpoint import Floats
from tern.demo.engine import Answer, Engine
from tern.demo.metrics import EngineMetrics
from tern.demo.replies import FINGERPRINT, OWNER, ChatReply, Json, Reply, TextReply, Written, usage_of
from tern.demo.sample import SamplingParams
from tern.demo.transport import EventStream, json_response, read_body, until_gone

CLIENT_GONE = 499


@dataclass(frozen=True)
class Task:
    """One generation call: `n` choices for each prompt; `echoes` is what each prompt's choices repeat first."""

    engine: Engine
    prompts: list[list[int]]
    echoes: list[str]
    params: SamplingParams
    n: int

    def begin(self) -> AbstractContextManager[Answer]:
        return self.engine.answering(self.prompts, self.params, self.n)

    def blank_choices(self) -> list[Written]:
        each = [
            (len(prompt), echo)
            for prompt, echo in zip(self.prompts, self.echoes, strict=True)
            for _ in range(self.n)
        ]
        return [Written(index, length, echo) for index, (length, echo) in enumerate(each)]

    def usage(self, choices: Sequence[Written]) -> Json:
        """Each prompt counts once, however many choices were asked for it."""
        return usage_of(sum(map(len, self.prompts)), sum(len(written.picks) for written in choices))


class Endpoints:
    def __init__(self, backend: Backend, metrics: EngineMetrics) -> None:
        self._backend = backend
        self._metrics = metrics

    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
            Route("/v1/embeddings", self.embed, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/detokenize", self.detokenize, methods=["POST"]),
            Route("/health", self.health),
            Route("/load", self.load),
            Route("/metrics", self.metrics),
            Route("/version", self.version),
        ]

    async def chat(self, request: Request) -> Response:
        body = await read_body(request, ChatBody)
        asking.check_model(self._backend, body.model)
        prompts = [asking.chat_prompt(self._backend, body)]
        reply = ChatReply(self._backend.name, self._backend.codec, with_logprobs=bool(body.logprobs))
        return await self._answer(request, body, prompts, reply)

    async def complete(self, request: Request) -> Response:
        body = await read_body(request, CompletionBody)
        asking.check_model(self._backend, body.model)
        prompts = asking.prompts_of(self._backend, body.prompt)
        reply = TextReply(self._backend.name, self._backend.codec, with_logprobs=body.logprobs is not None)
        return await self._answer(request, body, prompts, reply, echo=body.echo)

    async def _answer(
        self, request: Request, body: GenerationBody, prompts: list[list[int]], reply: Reply, *, echo: bool = False
    ) -> Response:
        params = asking.sampling_of(self._backend, body, prompts)
        echoes = [self._backend.codec.decode(prompt) if echo else "" for prompt in prompts]
        task = Task(self._backend.engine, prompts, echoes, params, body.n or 1)
        if body.stream:
            return EventStream(stream(task, reply, body))
        whole = await until_gone(request.receive, collect(task, reply))
        return Response(status_code=CLIENT_GONE) if whole is None else json_response(whole)

    async def embed(self, request: Request) -> Response:
        body = await read_body(request, EmbeddingBody)
        asking.check_model(self._backend, body.model)
        prompts = asking.embedding_prompts(self._backend, body)
        vectors = await until_gone(request.receive, self._vectors(prompts))
        if vectors is None:
            return Response(status_code=CLIENT_GONE)
        data = [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, body.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        usage = usage_of(sum(map(len, prompts)), 0)
        return json_response({"object": "list", "model": self._backend.name, "data": data, "usage": usage})

    async def _vectors(self, prompts: Sequence[Sequence[int]]) -> list[Floats]:
        return [await self._backend.engine.embed(prompt) for prompt in prompts]

    async def models(self, _: Request) -> Response:
        model = {
            "id": self._backend.name,
            "object": "model",
            "created": self._backend.started_at,
            "owned_by": OWNER,
            "root": self._backend.name,
            "parent": None,
            "max_model_len": self._backend.engine.max_model_len,
        }
        return json_response({"object": "list", "data": [model]})

    async def tokenize(self, request: Request) -> Response:
        body = await read_body(request, TokenizeBody)
        asking.check_model(self._backend, body.model)
        tokens = asking.tokens_to_count(self._backend, body)
        strings = [self._backend.codec.token_text(token) for token in tokens] if body.return_token_strs else None
        limit = self._backend.engine.max_model_len
        return json_response(
            {"count": len(tokens), "max_model_len": limit, "tokens": tokens, "token_strs": strings}
        )

    async def detokenize(self, request: Request) -> Response:
        body = await read_body(request, DetokenizeBody)
        asking.check_model(self._backend, body.model)
        (tokens,) = asking.prompts_of(self._backend, body.tokens) if body.tokens else [[]]
        return json_response({"prompt": self._backend.codec.decode(tokens)})

    async def health(self, _: Request) -> Response:
        return Response()

    async def load(self, _: Request) -> Response:
        return json_response({"server_load": self._backend.engine.load})

    async def metrics(self, _: Request) -> Response:
        return Response(self._metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def version(self, _: Request) -> Response:
        try:
            number = version("tern")
        except PackageNotFoundError:
            number = "0"
        return json_response({"version": number, "server": FINGERPRINT})


async def collect(task: Task, reply: Reply) -> Json:
    choices = task.blank_choices()
    with task.begin() as answer:
        async for delta in answer:
            choices[delta.index].add(delta)
    return reply.whole(choices, task.usage(choices))


async def stream(task: Task, reply: Reply, body: GenerationBody) -> AsyncGenerator[Json]:
    """Chunks of all choices as they come; running usage is per choice, the last chunk has the sum.

    The task begins with the first chunk that is asked for, so a stream that nobody reads takes no slot.
    """
    choices = task.blank_choices()
    with task.begin() as answer:
        for written in choices:
            if opening := reply.opening(written.index):
                yield _with_usage(opening, written, body)
        async for delta in answer:
            written = choices[delta.index]
            written.add(delta)
            yield _with_usage(reply.chunk(written, delta), written, body)
    if body.wants_usage:
        yield reply.usage_chunk(task.usage(choices))


def _with_usage(chunk: Json, written: Written, body: GenerationBody) -> Json:
    """vLLM puts the fingerprint on a choice's last chunk, or on the usage chunk when one follows."""
    if written.finish_reason is not None and not body.wants_usage:
        chunk["system_fingerprint"] = FINGERPRINT
    if body.wants_continuous_usage:
        chunk["usage"] = written.usage()
    return chunk


def _encoded(vector: Floats, encoding: str) -> str | list[float]:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]
