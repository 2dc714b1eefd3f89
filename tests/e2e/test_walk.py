"""The real SDK through every endpoint, against real servers: answers, metering, and the report of both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.admin.organization import AdminAPIKey
from openai.types.admin.organization.projects import ProjectAPIKey

from tests.e2e.product import Product
from tests.e2e.watching import at_rest
from tests.fakes.generation import PROMPT_TOKENS
from tests.fakes.upstream import FakeUpstream

QUESTION = [{"role": "user", "content": "say something"}]


@pytest.fixture
async def client(product: Product) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{product.routers[0]}/v1", api_key=product.api_key, max_retries=0) as made:
        yield made


@pytest.fixture
def admin(product: Product) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{product.org_url}/v1", admin_api_key=product.admin_key, api_key="") as made:
        yield made


@pytest.fixture
def reports(product: Product) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{product.analytics_url}/v1", admin_api_key=product.admin_key, api_key="") as made:
        yield made


async def test_every_inference_endpoint_answers_the_sdk(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    whole = await client.chat.completions.create(model="tokens-8", messages=QUESTION)
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 8
    assert whole._request_id
    stream = await client.chat.completions.create(model="tokens-8", messages=QUESTION, stream=True)
    assert len([chunk async for chunk in stream if chunk.choices[0].delta.content]) == 8
    completion = await client.completions.create(model="tokens-8", prompt="say something")
    assert completion.choices[0].text
    embedded = await client.embeddings.create(model="tokens-8", input="say something")
    assert embedded.data[0].embedding
    response = await client.responses.create(model="tokens-8", input="say something")
    assert response.usage is not None
    assert {model.id async for model in client.models.list()} >= {"tokens-8"}
    assert (await client.models.retrieve("tokens-8")).id == "tokens-8"
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.files.list()
    assert unknown.value.code == "unknown_url"


async def test_every_call_is_in_the_report_within_two_seconds_and_counted_once(
    product: Product, client: AsyncOpenAI, reports: OpenAI, upstream: FakeUpstream
) -> None:
    await at_rest(product)
    before, before_cost = product.analytics_rows()
    for _ in range(5):
        await client.chat.completions.create(model="tokens-8", messages=QUESTION)
    called_at = time.monotonic()
    while product.analytics_rows()[0] != before + 5:
        assert time.monotonic() - called_at < 10
    print(f"\nvisible in analytics {time.monotonic() - called_at:.2f} s after the last of 5 calls")
    assert time.monotonic() - called_at < 2
    count, cost = product.analytics_rows()
    page = reports.admin.organization.usage.completions(start_time=int(time.time()) - 86_400, group_by=["model"])
    results = [result for bucket in page.data for result in bucket.results if result.model == "tokens-8"]
    assert sum(result.num_model_requests for result in results) >= 5
    assert cost - before_cost == 5 * expected_cost(upstream)
    assert product.ledger_spent_nano_usd() == cost
    assert count == before + 5


def expected_cost(upstream: FakeUpstream) -> int:
    """At 0.10 and 0.40 USD per million tokens, from what the upstream said that it used."""
    last = upstream.calls[-1]
    return PROMPT_TOKENS * 100 + last.tokens_sent * 400


async def test_the_real_sdk_administers_the_organization(
    product: Product, admin: OpenAI, upstream: FakeUpstream
) -> None:
    organization = admin.admin.organization
    project = organization.projects.create(name="Research")
    account = organization.projects.service_accounts.create(project.id, name="crawler")
    assert account.api_key is not None
    async with AsyncOpenAI(base_url=f"{product.routers[1]}/v1", api_key=account.api_key.value) as crawler:
        assert (await crawler.chat.completions.create(model="tokens-8", messages=QUESTION)).usage is not None
        keys = list(organization.projects.api_keys.list(project.id))
        assert [key.owner.type for key in keys] == ["service_account"]
        organization.projects.spend_limit.update(project.id, threshold_amount=0, currency="USD", interval="month")
        await until_refused(crawler, "project_spend_limit_exceeded")
        organization.projects.spend_limit.delete(project.id)
        await until_answered(crawler)


async def test_a_call_and_a_look_at_the_report_are_the_last_uses_of_their_keys(
    product: Product, client: AsyncOpenAI, admin: OpenAI, reports: OpenAI, upstream: FakeUpstream
) -> None:
    organization, project_id = admin.admin.organization, product.project_id
    key_id = next(key.id for key in organization.projects.api_keys.list(project_id))
    called_at = int(time.time())
    await client.chat.completions.create(model="tokens-8", messages=QUESTION)
    await until_used(lambda: organization.projects.api_keys.retrieve(key_id, project_id=project_id), called_at)
    reporter = organization.admin_api_keys.create(name="reporter")
    with reports.with_options(admin_api_key=reporter.value) as reading:
        reading.admin.organization.usage.completions(start_time=called_at - 86_400)
    await until_used(lambda: organization.admin_api_keys.retrieve(reporter.id), called_at)


async def until_used(key: Callable[[], ProjectAPIKey | AdminAPIKey], called_at: int) -> None:
    """Routers and org_service tell of uses now and then; here, often."""
    async with asyncio.timeout(10):
        while (key().last_used_at or 0) < called_at:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.05)


async def until_refused(client: AsyncOpenAI, code: str) -> None:
    """A change reaches every router within a second."""
    changed_at = time.monotonic()
    while time.monotonic() - changed_at < 1.0:
        try:
            await client.chat.completions.create(model="tokens-8", messages=QUESTION)
        except openai.APIStatusError as error:
            assert error.code == code
            return
    raise AssertionError(f"still admitted a second after the change; expected {code}")


async def until_answered(client: AsyncOpenAI) -> None:
    changed_at = time.monotonic()
    while True:
        try:
            await client.chat.completions.create(model="tokens-8", messages=QUESTION)
        except openai.RateLimitError:
            assert time.monotonic() - changed_at < 1.0
        else:
            return
