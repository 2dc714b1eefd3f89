"""Questions to the database, and rows as results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from analytics.buckets import Span
from analytics.db import Database
from analytics.parameters import Group, Question
from analytics.schemas import Amount, Bucket, CompletionsResult, CostsResult, EmbeddingsResult
from contracts.catalog import Operation
from contracts.grant import LevelKind
from contracts.spend import LevelSpend, SpendReport

COMPLETIONS: Final = (Operation.CHAT, Operation.COMPLETION, Operation.RESPONSE)
EMBEDDINGS: Final = (Operation.EMBEDDING,)
NANO_PER_USD: Final = 1_000_000_000

Result = TypeVar("Result", bound=BaseModel)
Row = Mapping[str, Any]


class Queries:
    """Each answer is scoped to one organization."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def completions(self, organization_id: str, question: Question, span: Span) -> list[Any]:
        rows = [] if question.batch else await self._usage(organization_id, question, span, COMPLETIONS)
        return _bucketed(span, rows, lambda row: _completions(row, question))

    async def embeddings(self, organization_id: str, question: Question, span: Span) -> list[Any]:
        return _bucketed(span, await self._usage(organization_id, question, span, EMBEDDINGS), _embeddings)

    async def costs(self, organization_id: str, question: Question, span: Span) -> list[Any]:
        parameters = _asked(organization_id, question, span) | {"by_line_item": question.by(Group.LINE_ITEM)}
        rows = await self._database.ask("costs", parameters)
        return _bucketed(span, rows, lambda row: _costs(row, question))

    async def spend(self, organization_id: str, at: datetime) -> SpendReport:
        """What each level spent in the UTC day and month that contain `at`, and ever."""
        day_at = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        month_at = day_at.replace(day=1)
        next_month_at = month_at.replace(year=month_at.year + month_at.month // 12, month=month_at.month % 12 + 1)
        rows = await self._database.ask(
            "spend",
            {
                "organization_id": organization_id,
                "day_at": day_at,
                "month_at": month_at,
                "next_month_at": next_month_at,
            },
        )
        levels = tuple(LevelSpend.model_validate(row | {"level": LevelKind(row["level"])}) for row in rows)
        return SpendReport(organization_id=organization_id, at=at, levels=levels)

    async def _usage(
        self, organization_id: str, question: Question, span: Span, operations: tuple[Operation, ...]
    ) -> list[dict[str, Any]]:
        parameters = _asked(organization_id, question, span) | {
            "width": span.width.value,
            "operations": [operation.value for operation in operations],
            "by_model": question.by(Group.MODEL),
        }
        return await self._database.ask("usage", parameters)


def _asked(organization_id: str, question: Question, span: Span) -> dict[str, Any]:
    return {
        "organization_id": organization_id,
        "start_at": datetime.fromtimestamp(span.start, UTC),
        "end_at": datetime.fromtimestamp(span.end, UTC),
        "by_project": question.by(Group.PROJECT),
        "by_user": question.by(Group.USER),
        "by_api_key": question.by(Group.API_KEY),
        **question.filters,
    }


def _bucketed(span: Span, rows: list[dict[str, Any]], result: Callable[[Row], Result]) -> list[Bucket[Result]]:
    """Every bucket of the span, also those without a row, so that a chart needs no gap filling."""
    by_start: dict[int, list[Result]] = {start: [] for start in span.starts()}
    for row in rows:
        by_start[row["bucket_seconds"]].append(result(row))
    return [
        Bucket(start_time=start, end_time=start + span.width.seconds, results=results)
        for start, results in by_start.items()
    ]


def _completions(row: Row, question: Question) -> CompletionsResult:
    uncached = row["input_tokens"] - row["cached_input_tokens"]
    return CompletionsResult(
        **_dimensions(row),
        model=row["model"],
        num_model_requests=row["requests"],
        input_tokens=row["input_tokens"],
        input_cached_tokens=row["cached_input_tokens"],
        input_uncached_tokens=uncached,
        output_tokens=row["output_tokens"],
        input_text_tokens=uncached,
        input_cached_text_tokens=row["cached_input_tokens"],
        output_text_tokens=row["output_tokens"],
        batch=False if question.by(Group.BATCH) else None,
        service_tier="default" if question.by(Group.SERVICE_TIER) else None,
        api_source="unlabeled" if question.by(Group.API_SOURCE) else None,
    )


def _embeddings(row: Row) -> EmbeddingsResult:
    return EmbeddingsResult(
        **_dimensions(row),
        model=row["model"],
        num_model_requests=row["requests"],
        input_tokens=row["input_tokens"],
    )


def _costs(row: Row, question: Question) -> CostsResult:
    by_line = question.by(Group.LINE_ITEM)
    return CostsResult(
        **_dimensions(row),
        amount=amount(row["cost_nano_usd"]),
        line_item=row["line_item"],
        quantity=float(row["tokens"]) if by_line else None,
        quantity_unit="tokens" if by_line else None,
        api_source="unlabeled" if question.by(Group.API_SOURCE) else None,
    )


def _dimensions(row: Row) -> dict[str, str | None]:
    return {name: row[name] for name in ("project_id", "user_id", "api_key_id")}


def amount(nano_usd: int) -> Amount:
    """Nano-USD as dollars: a float, and a decimal with all nine places."""
    whole, part = divmod(abs(nano_usd), NANO_PER_USD)
    sign = "-" if nano_usd < 0 else ""
    return Amount(value=nano_usd / NANO_PER_USD, value_decimal=f"{sign}{whole}.{part:09d}")
