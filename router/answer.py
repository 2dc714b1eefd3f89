"""The answer of a call that does not stream: usage read, the model renamed, all other bytes as they came."""

from __future__ import annotations

import json

from router.members import members
from router.open_calls import OpenCall
from router.upstreams import FaultKind, UpstreamFault


def read_answer(open_call: OpenCall, body: bytes) -> bytes:
    """Count the usage in `body` and give the body for the client. Raises UpstreamFault if it is no answer."""
    try:
        text = body.decode()
        found = members(text)
    except ValueError as error:
        raise UpstreamFault(FaultKind.GARBAGE, "the answer is no JSON object") from error
    if "error" in found and found["error"].value and "choices" not in found and "output" not in found:
        raise UpstreamFault(FaultKind.GARBAGE, "an error with status 200")
    usage = found.get("usage")
    if usage is not None and isinstance(usage.value, dict):
        open_call.tally.report_object(usage.value)
    model = found.get("model")
    if model is None or model.value == open_call.call.model:
        return body
    return (text[: model.value_at] + json.dumps(open_call.call.model) + text[model.end :]).encode()
