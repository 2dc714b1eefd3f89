"""The gateway as a client sees it: OpenAI's paths, OpenAI's envelope, nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx2

from tern.cli.environment import Environment
from tern.cli.problems import KeyRefusedError, RefusedError, UnreachableError

TIMEOUT: Final = httpx2.Timeout(30.0, connect=5.0)
STREAM_TIMEOUT: Final = httpx2.Timeout(120.0, connect=5.0)
PAGE_SIZE: Final = 100

Json = dict[str, Any]


class Gateway:
    """Admin calls carry the admin key, the rest the project key; each is asked for only when it is needed."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._client = httpx2.Client(timeout=TIMEOUT)

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **params: Any) -> Json:
        """An admin read, `path` below /v1/organization."""
        given = {name: value for name, value in params.items() if value is not None}
        return self._ask("GET", self._admin(path), self.environment.admin_key, params=given)

    def post(self, path: str, body: Json | None = None) -> Json:
        return self._ask("POST", self._admin(path), self.environment.admin_key, json=body or {})

    def delete(self, path: str) -> Json:
        return self._ask("DELETE", self._admin(path), self.environment.admin_key)

    def items(self, path: str, **params: Any) -> Iterator[Json]:
        """Every item of a list, page after page."""
        after: str | None = None
        while True:
            page = self.get(path, limit=PAGE_SIZE, after=after, **params)
            yield from page["data"]
            if not page["has_more"]:
                return
            after = page["last_id"]

    def buckets(self, path: str, **params: Any) -> Iterator[Json]:
        """Every bucket of a report, page after page."""
        page_token: str | None = None
        while True:
            page = self.get(path, page=page_token, **params)
            yield from page["data"]
            page_token = page["next_page"]
            if page_token is None:
                return

    def models(self) -> list[Json]:
        """What the project key may call."""
        url = f"{self.environment.base_url}/models"
        listed: list[Json] = self._ask("GET", url, self.environment.api_key)["data"]
        return listed

    def chat(self, body: Json) -> Iterator[Json]:
        """The chunks of a streamed answer."""
        url = f"{self.environment.base_url}/chat/completions"
        headers = _bearer(self.environment.api_key)
        with (
            _reachable(url),
            self._client.stream("POST", url, json=body, headers=headers, timeout=STREAM_TIMEOUT) as reply,
        ):
            if reply.is_error:
                reply.read()
                _raise_refusal(reply)
            yield from _frames(reply.iter_lines())

    def probe(self, path: str) -> httpx2.Response:
        """A plain GET beside /v1, without a key."""
        url = self.environment.base_url.removesuffix("/v1") + path
        with _reachable(url):
            return self._client.get(url)

    def _admin(self, path: str) -> str:
        return f"{self.environment.base_url}/organization/{path}"

    def _ask(self, method: str, url: str, key: str, **request: Any) -> Json:
        with _reachable(url):
            reply = self._client.request(method, url, headers=_bearer(key), **request)
        if reply.is_error:
            _raise_refusal(reply)
        try:
            answer: Json = reply.json()
        except ValueError:
            raise UnreachableError(f"{url} does not answer in JSON: is it Tern's /v1?") from None
        return answer


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def _frames(lines: Iterator[str]) -> Iterator[Json]:
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        chunk: Json = json.loads(data)
        if error := chunk.get("error"):
            raise RefusedError(str(error.get("message")))
        yield chunk


@contextmanager
def _reachable(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise UnreachableError(f"{url} does not answer ({reason}). `tern doctor` says more.") from error


def _raise_refusal(reply: httpx2.Response) -> None:
    try:
        error = reply.json()["error"]
        message = f"{error['message']}" + (f" [{error['code']}]" if error.get("code") else "")
    except (ValueError, KeyError, TypeError):
        message = f"{reply.request.url} answered {reply.status_code}, and not as Tern does"
    kind = KeyRefusedError if reply.status_code in (401, 403) else RefusedError
    raise kind(message)
