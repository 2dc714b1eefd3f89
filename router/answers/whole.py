"""The answer of a call that does not stream: usage read, the model renamed, all other bytes as they came."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from router.members import members, values
from router.open_calls import OpenCall
from router.upstreams.upstreams import FaultKind, UpstreamFault

_USUAL: Final = re.compile(r'\{(?:"[a-z_]+": ?(?:"[^"\\]*"|[0-9]+), ?)*"model": ?("[^"\\]*")')
"""How servers begin an answer: the model after plain members, so that it is surely the answer's own."""


def read_answer(open_call: OpenCall, body: bytes) -> bytes:
    """Count the usage in `body` and give the body for the client. Raises UpstreamFault if it is no answer."""
    try:
        text = body.decode()
        found, model_at, model_end = _read(text)
    except ValueError as error:
        raise UpstreamFault(FaultKind.GARBAGE, "the answer is no JSON object") from error
    if found.get("error") and "choices" not in found and "output" not in found:
        raise UpstreamFault(FaultKind.GARBAGE, "an error with status 200")
    usage = found.get("usage")
    if isinstance(usage, dict):
        open_call.tally.report_object(usage)
    if not model_end or found["model"] == open_call.call.model:
        return body
    return (text[:model_at] + json.dumps(open_call.call.model) + text[model_end:]).encode()


def _read(text: str) -> tuple[dict[str, Any], int, int]:
    """The members' values, and where that of `model` begins and ends; twice 0 where there is none. Only where an
    answer is not as usual does it matter where its other members stand."""
    usual = _USUAL.match(text)
    if usual and text.count('"model"') == 1 and text.count('"usage"') <= 1:
        return values(text), *usual.span(1)
    found = members(text)
    model = found.get("model")
    places = (model.value_at, model.end) if model else (0, 0)
    return {name: member.value for name, member in found.items()}, *places
