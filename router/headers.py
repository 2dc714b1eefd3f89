"""Which headers pass the gateway: none of the client's own reach an upstream, and of an upstream's only the type
of the body reaches the client. Everything else is the gateway's, from this page.

| towards an upstream | value |
|---|---|
| content-type | application/json |
| accept-encoding | identity: the bytes are read on their way |
| x-request-id | the call id |
| authorization | the upstream's own key, where it has one |
| traceparent | added by the instrumentation, where tracing is on |

| towards a client | value |
|---|---|
| x-request-id | the call id, on errors too |
| openai-processing-ms | milliseconds until the status was sent |
| openai-version | 2020-10-01 |
| openai-organization, openai-project | whom the key belongs to |
| x-ratelimit-* | what is left of the tightest limits, after this call was reserved |
| content-type, content-length, cache-control | of the body |
"""

from __future__ import annotations

from contracts.catalog import Upstream
from contracts.grant import Grant
from router.errors import Headers, go_duration
from router.ports import Headroom


def upstream_headers(call_id: str, upstream: Upstream) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept-encoding": "identity", "x-request-id": call_id}
    if upstream.api_key is not None:
        headers["authorization"] = f"Bearer {upstream.api_key}"
    return headers


def client_headers(
    call_id: str, elapsed_seconds: float, grant: Grant | None, headroom: Headroom | None
) -> Headers:
    headers = [
        (b"x-request-id", call_id.encode()),
        (b"openai-processing-ms", b"%d" % (elapsed_seconds * 1000)),
        (b"openai-version", b"2020-10-01"),
    ]
    if grant is not None:
        headers.append((b"openai-organization", grant.organization_id.encode()))
        headers.append((b"openai-project", grant.project_id.encode()))
    if headroom is not None:
        headers += _headroom_headers(headroom)
    return headers


def _headroom_headers(room: Headroom) -> Headers:
    headers: Headers = []
    if room.limit_requests is not None:
        headers += [
            (b"x-ratelimit-limit-requests", b"%d" % room.limit_requests),
            (b"x-ratelimit-remaining-requests", b"%d" % max(room.remaining_requests or 0, 0)),
            (b"x-ratelimit-reset-requests", go_duration(room.reset_requests_ms or 0)),
        ]
    if room.limit_tokens is not None:
        headers += [
            (b"x-ratelimit-limit-tokens", b"%d" % room.limit_tokens),
            (b"x-ratelimit-remaining-tokens", b"%d" % max(room.remaining_tokens or 0, 0)),
            (b"x-ratelimit-reset-tokens", go_duration(room.reset_tokens_ms or 0)),
        ]
    return headers
