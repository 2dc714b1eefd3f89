"""The JSON that clients read: whole replies and stream chunks of chat and plain completions, as vLLM has them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tern.demo.engine import Delta
from tern.demo.sample import Picked
from tern.demo.text import TextCodec

FINGERPRINT = OWNER = "tern-demo-backend"
Json = dict[str, Any]


@dataclass
class Written:
    """What one choice has produced so far."""

    index: int
    prompt_tokens: int
    prompt_text: str = ""
    text: str = ""
    picks: list[Picked] = field(default_factory=list)
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    next_offset: int = 0
    """Where the next streamed token begins, in characters; used for log-probabilities only."""

    def add(self, delta: Delta) -> None:
        self.text += delta.text
        self.picks.append(delta.picked)
        self.finish_reason, self.stop_reason = delta.finish_reason, delta.stop_reason

    def usage(self) -> Json:
        return usage_of(self.prompt_tokens, len(self.picks))


def usage_of(prompt_tokens: int, completion_tokens: int) -> Json:
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
    }


class Reply:
    """Identity and shape of one reply; a subclass says what a choice looks like."""

    prefix: str
    whole_object: str
    chunk_object: str

    def __init__(self, model: str, codec: TextCodec, *, with_logprobs: bool) -> None:
        self.id = f"{self.prefix}-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = model
        self._codec = codec
        self._with_logprobs = with_logprobs

    def whole(self, choices: Sequence[Written], usage: Json) -> Json:
        rendered = [self._whole_choice(written) for written in choices]
        return self._envelope(self.whole_object, rendered) | {"system_fingerprint": FINGERPRINT, "usage": usage}

    def opening(self, index: int) -> Json | None:
        """The chunk before the first token, if this kind of reply has one."""
        return None

    def chunk(self, written: Written, delta: Delta) -> Json:
        choice = self._chunk_choice(written, delta)
        return self._envelope(self.chunk_object, [choice])

    def usage_chunk(self, usage: Json) -> Json:
        return self._envelope(self.chunk_object, []) | {"system_fingerprint": FINGERPRINT, "usage": usage}

    def _envelope(self, kind: str, choices: list[Json]) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }

    def _whole_choice(self, written: Written) -> Json:
        raise NotImplementedError

    def _chunk_choice(self, written: Written, delta: Delta) -> Json:
        raise NotImplementedError


class ChatReply(Reply):
    prefix, whole_object, chunk_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def opening(self, index: int) -> Json:
        choice = {"index": index, "delta": {"role": "assistant", "content": ""}}
        return self._envelope(self.chunk_object, [choice | {"logprobs": None, "finish_reason": None}])

    def _whole_choice(self, written: Written) -> Json:
        return {
            "index": written.index,
            "message": {"role": "assistant", "content": written.text, "refusal": None, "tool_calls": []},
            "logprobs": self._logprobs(written.picks),
            "finish_reason": written.finish_reason,
            "stop_reason": written.stop_reason,
        }

    def _chunk_choice(self, written: Written, delta: Delta) -> Json:
        choice = {
            "index": delta.index,
            "delta": {"content": delta.text},
            "logprobs": self._logprobs([delta.picked]),
            "finish_reason": delta.finish_reason,
        }
        return choice if delta.finish_reason is None else choice | {"stop_reason": delta.stop_reason}

    def _logprobs(self, picks: Sequence[Picked]) -> Json | None:
        if not self._with_logprobs:
            return None
        content = [
            self._token(pick.token, pick.logprob) | {"top_logprobs": [self._token(*best) for best in pick.best]}
            for pick in picks
        ]
        return {"content": content}

    def _token(self, token: int, logprob: float) -> Json:
        return {
            "token": self._codec.token_text(token),
            "logprob": logprob,
            "bytes": list(self._codec.token_bytes[token]),
        }


class TextReply(Reply):
    prefix, whole_object, chunk_object = "cmpl", "text_completion", "text_completion"

    def _whole_choice(self, written: Written) -> Json:
        return {
            "index": written.index,
            "text": written.prompt_text + written.text,
            "logprobs": self._logprobs(written.picks, len(written.prompt_text)),
            "finish_reason": written.finish_reason,
            "stop_reason": written.stop_reason,
        }

    def _chunk_choice(self, written: Written, delta: Delta) -> Json:
        is_first = len(written.picks) == 1
        offset = written.next_offset or len(written.prompt_text)
        written.next_offset = offset + len(self._codec.token_text(delta.picked.token))
        return {
            "index": delta.index,
            "text": written.prompt_text + delta.text if is_first else delta.text,
            "logprobs": self._logprobs([delta.picked], offset),
            "finish_reason": delta.finish_reason,
            "stop_reason": delta.stop_reason,
        }

    def _logprobs(self, picks: Sequence[Picked], offset: int) -> Json | None:
        if not self._with_logprobs:
            return None
        tokens = [self._codec.token_text(pick.token) for pick in picks]
        offsets = [offset + sum(map(len, tokens[:place])) for place in range(len(tokens))]
        best = [
            {self._codec.token_text(token): logprob for token, logprob in (*pick.best, (pick.token, pick.logprob))}
            for pick in picks
        ]
        logprobs = [pick.logprob for pick in picks]
        return {"text_offset": offsets, "token_logprobs": logprobs, "tokens": tokens, "top_logprobs": best}
