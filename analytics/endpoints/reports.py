"""GET /v1/organization/usage/* and /v1/organization/costs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter, Request

from analytics.authenticate import authenticate
from analytics.buckets import Limits, Span, Width
from analytics.errors import InvalidParameterError
from analytics.pages import ForeignPageError, Page, PageSigner
from analytics.parameters import Group, Question, Report, documented, parse
from analytics.schemas import BucketPage, CompletionsResult, CostsResult, EmbeddingsResult
from analytics.services import services_of

USAGE_LIMITS: Final = {
    Width.MINUTE: Limits(60, 1440),
    Width.HOUR: Limits(24, 168),
    Width.DAY: Limits(7, 31),
}
WHO: Final = (Group.PROJECT, Group.USER, Group.API_KEY)
COMPLETIONS: Final = Report(
    "completions",
    (*WHO, Group.MODEL, Group.BATCH, Group.SERVICE_TIER, Group.API_SOURCE),
    ("project_ids", "user_ids", "api_key_ids", "models"),
    USAGE_LIMITS,
    batch=True,
)
EMBEDDINGS: Final = Report(
    "embeddings", (*WHO, Group.MODEL), ("project_ids", "user_ids", "api_key_ids", "models"), USAGE_LIMITS
)
COSTS: Final = Report(
    "costs",
    (*WHO, Group.LINE_ITEM, Group.API_SOURCE),
    ("project_ids", "user_ids", "api_key_ids", "line_items"),
    {Width.DAY: Limits(7, 180)},
)
Ask = Callable[[str, Question, Span], Awaitable[list[Any]]]

router = APIRouter(prefix="/v1/organization", tags=["usage"])


@router.get("/usage/completions", openapi_extra={"parameters": documented(COMPLETIONS)})
async def completions(request: Request) -> BucketPage[CompletionsResult]:
    """Tokens and calls of chat completions, completions and responses."""
    return BucketPage(**await _answer(request, COMPLETIONS, services_of(request).queries.completions))


@router.get("/usage/embeddings", openapi_extra={"parameters": documented(EMBEDDINGS)})
async def embeddings(request: Request) -> BucketPage[EmbeddingsResult]:
    """Tokens and calls of embeddings."""
    return BucketPage(**await _answer(request, EMBEDDINGS, services_of(request).queries.embeddings))


@router.get("/costs", openapi_extra={"parameters": documented(COSTS)})
async def costs(request: Request) -> BucketPage[CostsResult]:
    """What everything cost, by day."""
    return BucketPage(**await _answer(request, COSTS, services_of(request).queries.costs))


async def _answer(request: Request, report: Report, ask: Ask) -> dict[str, Any]:
    """One page of buckets, and the token of the next."""
    services = services_of(request)
    identity = await authenticate(request.headers.get("authorization"), services.directory)
    question = parse(request.query_params.multi_items(), report, int(services.now().timestamp()))
    bound_to = {"organization": identity.organization_id, "report": report.name, **question.identity()}
    span = _span(question, bound_to, services.pages)
    page = span.first(question.limit)
    buckets = await ask(identity.organization_id, question, page)
    has_more = page.end < span.end
    next_page = services.pages.sign(Page(page.end, span.end), bound_to) if has_more else None
    return {"data": buckets, "has_more": has_more, "next_page": next_page}


def _span(question: Question, bound_to: dict[str, Any], pages: PageSigner) -> Span:
    if question.page is None:
        return question.span
    try:
        page = pages.open(question.page, bound_to)
    except ForeignPageError:
        raise InvalidParameterError("page is not the next_page of this question", "page") from None
    return Span(page.start, page.end, question.span.width)
