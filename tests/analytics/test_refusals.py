"""What bad input gets: OpenAI's envelope, the right status, and the name of the parameter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from analytics.app import Deps, create_app
from contracts.api_key import KeyKind, generate
from tests.analytics.conftest import SERVICE_TOKEN
from tests.analytics.reporting import Admins, client_of

COMPLETIONS = "/v1/organization/usage/completions"
COSTS = "/v1/organization/costs"


@pytest.fixture
def admins() -> Admins:
    return Admins()


@pytest.fixture
async def client(make_settings: Any, admins: Admins) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(
        create_app(make_settings(), Deps(directory=admins.directory)), admins.key("org_a")
    ) as opened:
        yield opened


def error_of(reply: httpx2.Response) -> dict[str, Any]:
    assert set(reply.json()) == {"error"}
    error: dict[str, Any] = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert reply.headers["x-request-id"]
    return error


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("", "start_time"),
        ("start_time=", "start_time"),
        ("start_time=yesterday", "start_time"),
        ("start_time=-5", "start_time"),
        ("start_time=1e9", "start_time"),
        ("start_time=1773100800000", "start_time"),
        ("start_time=9999999999999999999999", "start_time"),
        ("start_time=5&start_time=6", "start_time"),
        ("start_time=100&end_time=100", "end_time"),
        ("start_time=100&end_time=99", "end_time"),
        ("start_time=100&bucket_width=1w", "bucket_width"),
        ("start_time=100&limit=0", "limit"),
        ("start_time=100&limit=ten", "limit"),
        ("start_time=100&limit=32", "limit"),
        ("start_time=100&group_by=colour", "group_by"),
        ("start_time=100&group_by[]=line_item", "group_by"),
        ("start_time=100&batch=maybe", "batch"),
        ("start_time=100&models[]=a%00b", "models"),
        ("start_time=100&project=p", "project"),
        ("start_time=100&page=page_AAAA", "page"),
        ("start_time=100&page=%F0%9F%92%A9", "page"),
        ("start_time=100&limit[]=5", "limit[]"),
    ],
)
async def test_a_bad_parameter_is_named(client: httpx2.AsyncClient, query: str, param: str) -> None:
    reply = await client.get(f"{COMPLETIONS}?{query}")
    assert reply.status_code == 400
    assert error_of(reply)["param"] == param


async def test_costs_know_days_only_and_no_models(client: httpx2.AsyncClient) -> None:
    for query, param in (("bucket_width=1h", "bucket_width"), ("models=a", "models"), ("batch=true", "batch")):
        reply = await client.get(f"{COSTS}?start_time=100&{query}")
        assert (reply.status_code, error_of(reply)["param"]) == (400, param)


async def test_a_page_of_one_question_is_refused_for_another(
    client: httpx2.AsyncClient, make_settings: Any, admins: Admins
) -> None:
    asked = {"start_time": 1_773_100_800, "limit": 1, "models": "a"}
    page = (await client.get(COMPLETIONS, params=asked)).json()["next_page"]
    assert (await client.get(COMPLETIONS, params=asked | {"page": page})).status_code == 200
    assert (await client.get(COMPLETIONS, params=asked | {"page": page, "limit": 3})).status_code == 200
    for other in ({"models": "b"}, {"start_time": 1_773_100_801}, {"group_by": "model"}, {"bucket_width": "1h"}):
        reply = await client.get(COMPLETIONS, params=asked | other | {"page": page})
        assert (reply.status_code, error_of(reply)["param"]) == (400, "page")
    foreign = await client.get(
        COMPLETIONS,
        params=asked | {"page": page},
        headers={"authorization": f"Bearer {admins.key('org_b')}"},
    )
    assert (foreign.status_code, error_of(foreign)["param"]) == (400, "page")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Basic dGVybg==",
        "Bearer nonsense",
        f"Bearer {generate(KeyKind.ADMIN)}",
        f"Bearer {generate(KeyKind.USER)}",
        f"Bearer {generate(KeyKind.ADMIN)[:-1]}!",
        f"Bearer {SERVICE_TOKEN}",
    ],
)
async def test_whoever_is_no_admin_gets_401(client: httpx2.AsyncClient, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    client.headers.pop("authorization")
    for path in (COMPLETIONS, COSTS):
        reply = await client.get(path, params={"start_time": 100}, headers=headers)
        assert reply.status_code == 401
        assert error_of(reply)["code"] == "invalid_api_key"
        assert reply.headers["www-authenticate"] == "Bearer"


async def test_the_key_is_checked_before_the_question(client: httpx2.AsyncClient) -> None:
    client.headers.pop("authorization")
    assert (await client.get(COMPLETIONS)).status_code == 401


async def test_an_unanswered_key_is_503_and_never_401(client: httpx2.AsyncClient, admins: Admins) -> None:
    admins.directory.available = False
    reply = await client.get(COMPLETIONS, params={"start_time": 100})
    assert reply.status_code == 503
    assert reply.headers["retry-after"]
    assert error_of(reply)["type"] == "service_unavailable_error"


async def test_unknown_addresses_and_methods_answer_in_the_envelope(client: httpx2.AsyncClient) -> None:
    unknown = await client.get("/v1/organization/usage/telepathy")
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "unknown_url")
    method = await client.post(COMPLETIONS)
    assert (method.status_code, error_of(method)["code"]) == (405, "method_not_allowed")


async def test_a_database_that_is_away_is_503(make_settings: Any, admins: Admins) -> None:
    settings = make_settings(database_url="postgresql://nobody@127.0.0.1:9/none", database_timeout_seconds=0.3)
    app = create_app(settings, Deps(directory=admins.directory))
    async with client_of(app, admins.key("org_a")) as client:
        for path in (f"{COMPLETIONS}?start_time=100", "/ready"):
            reply = await client.get(path)
            assert reply.status_code == 503
            assert "127.0.0.1" not in error_of(reply)["message"]
        assert (await client.get("/health")).status_code == 200


async def test_the_openapi_document_describes_what_is_accepted(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/v1/organization/usage/openapi.json")).json()
    assert set(document["paths"]) == {COMPLETIONS, "/v1/organization/usage/embeddings", COSTS}
    parameters = document["paths"][COMPLETIONS]["get"]["parameters"]
    assert {"start_time", "end_time", "bucket_width", "limit", "page", "batch", "group_by[]", "models[]"} <= {
        parameter["name"] for parameter in parameters
    }
    for parameter in parameters:
        reply = await client.get(COMPLETIONS, params={"start_time": 100, parameter["name"]: "?"})
        assert reply.status_code != 400 or error_of(reply)["code"] != "unknown_parameter"


async def test_metrics_count_requests_by_route(client: httpx2.AsyncClient) -> None:
    await client.get(COMPLETIONS, params={"start_time": 100})
    await client.get("/somewhere/else")
    text = (await client.get("/metrics")).text
    assert f'tern_analytics_http_requests_total{{route="{COMPLETIONS}",status="200"}} 1.0' in text
    assert 'route="unmatched",status="404"' in text
