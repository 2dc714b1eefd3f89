"""One inference call as the client wrote it, and the body that an upstream gets for it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from contracts.catalog import Operation
from router.members import Member


@dataclass(frozen=True, slots=True)
class Call:
    """One inference call as the client wrote it. `input_bytes` bounds its input tokens from above, images apart:
    a token is at least one byte of UTF-8. `choices` counts completions over all prompts."""

    operation: Operation
    text: str
    members: dict[str, Member]
    model: str
    stream: bool
    include_usage: bool
    continuous_usage: bool
    choices: int
    choices_per_prompt: int
    max_output_tokens: int | None
    input_bytes: int
    images: int


def render(call: Call, model_name: str, ask_usage: bool, ask_continuous: bool, extra: str = "") -> bytes:
    """The body for an upstream: the model's name there, usage asked for, all other bytes as they came.
    `extra` is further members of the gateway's own, each after a comma."""
    edits = [(call.members["model"], json.dumps(model_name))]
    if call.stream and ask_usage:
        member = call.members.get("stream_options")
        options = dict(member.value or {}) if member else {}
        options["include_usage"] = True
        if ask_continuous:
            options["continuous_usage_stats"] = True
        rendered = json.dumps(options, separators=(",", ":"))
        if member:
            edits.append((member, rendered))
        else:
            extra += f',"stream_options":{rendered}'
    return _splice(call.text, edits, extra).encode()


def _splice(text: str, edits: list[tuple[Member, str]], extra: str) -> str:
    pieces = []
    at = 0
    for member, replacement in sorted(edits):
        pieces += [text[at : member.value_at], replacement]
        at = member.end
    if not extra:
        return "".join([*pieces, text[at:]])
    brace = text.rindex("}")
    return "".join([*pieces, text[at:brace], extra, text[brace:]])
