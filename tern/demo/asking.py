"""From a parsed body to what the engine needs: prompts, sampling parameters, and the refusals on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tern.demo.bodies import ChatBody, CompletionBody, EmbeddingBody, GenerationBody, Message, TokenizeBody
from tern.demo.engine import Engine
from tern.demo.errors import BadRequestError, NotFoundError
from tern.demo.sample import SamplingParams
from tern.demo.text import TextCodec

MAX_PROMPTS = 256
MAX_CHOICES = 1024


@dataclass(frozen=True)
class Backend:
    """Everything an endpoint works with."""

    name: str
    engine: Engine
    codec: TextCodec
    defaults: dict[str, Any]
    started_at: int


def check_model(backend: Backend, model: str | None) -> None:
    if model and model != backend.name:
        raise NotFoundError(f"The model `{model}` does not exist.", "model")


def chat_prompt(backend: Backend, body: ChatBody) -> list[int]:
    if body.tools and body.tool_choice != "none":
        raise BadRequestError("The demo backend has no tool calls.", "tools")
    return _chat_tokens(backend, body.messages, add_generation_prompt=True)


def prompts_of(backend: Backend, given: str | list[str] | list[int] | list[list[int]]) -> list[list[int]]:
    """One text, several texts, one row of token ids, or several rows."""
    if isinstance(given, str):
        given = [given]
    rows = [given] if isinstance(given[0], int) else given
    if len(rows) > MAX_PROMPTS:
        raise BadRequestError(f"At most {MAX_PROMPTS} prompts in one call.", "prompt")
    return [_tokens(backend, row) for row in rows]


def _tokens(backend: Backend, row: Any) -> list[int]:
    tokens = backend.codec.encode(row) if isinstance(row, str) else list(row)
    vocab_size = backend.engine.model.config.vocab_size
    strange = next((token for token in tokens if not 0 <= token < vocab_size), None)
    if strange is not None:
        raise BadRequestError(f"Token id {strange} is out of vocabulary", "prompt")
    return tokens


def tokens_to_count(backend: Backend, body: TokenizeBody) -> list[int]:
    if body.messages is not None:
        return _chat_tokens(backend, body.messages, add_generation_prompt=body.add_generation_prompt)
    return backend.codec.encode(body.prompt or "")


def _chat_tokens(backend: Backend, messages: Sequence[Message], *, add_generation_prompt: bool) -> list[int]:
    pairs = [(message.role, _text_of(message)) for message in messages]
    return backend.codec.encode_chat(pairs, add_generation_prompt=add_generation_prompt)


def _text_of(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    texts = []
    for part in message.content or []:
        if part.type not in ("text", "input_text") or part.text is None:
            raise BadRequestError(f"The demo backend reads text only, not {part.type!r}.", "messages")
        texts.append(part.text)
    return "\n".join(texts)


def sampling_of(backend: Backend, body: GenerationBody, prompts: Sequence[Sequence[int]]) -> SamplingParams:
    """Limits as vLLM has them: what the context leaves, or less if the body asks for less."""
    if body.response_format and body.response_format.get("type") != "text":
        raise BadRequestError("The demo backend cannot constrain its output.", "response_format")
    temperature = _default(backend, body, "temperature", 1.0)
    if temperature == 0 and (body.n or 1) > 1:
        raise BadRequestError(f"n must be 1 when using greedy sampling, got {body.n}.", "n")
    if len(prompts) * (body.n or 1) > MAX_CHOICES:
        raise BadRequestError(f"At most {MAX_CHOICES} choices in one call.", "n")
    return SamplingParams(
        max_tokens=_room(backend, body, prompts),
        min_tokens=body.min_tokens,
        temperature=temperature,
        top_p=_default(backend, body, "top_p", 1.0),
        top_k=_default(backend, body, "top_k", 0),
        seed=body.seed,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        logit_bias=_logit_bias(backend, body),
        stop=body.stops,
        stop_token_ids=frozenset(body.stop_token_ids or ()),
        ignore_eos=body.ignore_eos,
        top_logprobs=_top_logprobs(body),
    )


def check_length(backend: Backend, tokens: Sequence[int], *, room_for: int = 1) -> None:
    limit = backend.engine.max_model_len
    if not tokens:
        raise BadRequestError("The prompt is empty.", "prompt")
    if len(tokens) + room_for > limit:
        raise BadRequestError(
            f"This model's maximum context length is {limit} tokens. However, your prompt contains {len(tokens)} "
            "input tokens, which exceeds this limit even without any output tokens. Please reduce the length of "
            "the input prompt.",
            "input_tokens",
        )


def _room(backend: Backend, body: GenerationBody, prompts: Sequence[Sequence[int]]) -> int:
    limit = backend.engine.max_model_len
    wanted, name = body.max_tokens, "max_tokens"
    if isinstance(body, ChatBody) and body.max_completion_tokens is not None:
        wanted, name = body.max_completion_tokens, "max_completion_tokens"
    if isinstance(body, CompletionBody) and wanted is None:
        wanted = 16
    if wanted is not None and wanted > limit:
        raise BadRequestError(
            f"{name}={wanted} cannot be greater than max_model_len={limit}. Please request fewer output tokens.",
            name,
        )
    for prompt in prompts:
        check_length(backend, prompt)
    left = limit - max(map(len, prompts))
    return left if wanted is None else min(wanted, left)


def _default(backend: Backend, body: GenerationBody, field: str, otherwise: Any) -> Any:
    given = getattr(body, field)
    return backend.defaults.get(field, otherwise) if given is None else given


def _logit_bias(backend: Backend, body: GenerationBody) -> dict[int, float]:
    bias = body.logit_bias or {}
    if any(not 0 <= token < backend.engine.model.config.vocab_size for token in bias):
        raise BadRequestError("logit_bias contains out-of-vocab token ids", "logit_bias")
    return bias


def _top_logprobs(body: GenerationBody) -> int | None:
    if isinstance(body, ChatBody):
        return (body.top_logprobs or 0) if body.logprobs else None
    return body.logprobs if isinstance(body, CompletionBody) else None


def embedding_prompts(backend: Backend, body: EmbeddingBody) -> list[list[int]]:
    if body.dimensions is not None:
        raise BadRequestError("The model does not support other dimensions.", "dimensions")
    prompts = prompts_of(backend, body.input)
    for prompt in prompts:
        check_length(backend, prompt, room_for=0)
    return prompts
