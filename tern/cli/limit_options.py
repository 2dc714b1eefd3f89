"""The options that say what a limit is, shared by the commands that set one."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from tern.cli import amounts


class Interval(StrEnum):
    DAY = "day"
    MONTH = "month"
    NONE = "none"


Spend = Annotated[str | None, typer.Option(help="Most USD per interval: 12.50")]
Per = Annotated[Interval, typer.Option(help="Interval of --spend; none is for ever.")]
Rpm = Annotated[int | None, typer.Option(min=0, help="Most requests per minute.")]
Tpm = Annotated[int | None, typer.Option(min=0, help="Most tokens per minute.")]
Concurrency = Annotated[int | None, typer.Option(min=0, help="Most calls at the same time.")]


def limits_body(
    spend: str | None, per: Interval, rpm: int | None, tpm: int | None, concurrency: int | None
) -> dict[str, Any]:
    """What was given, as the limits object has it; empty if nothing was."""
    body: dict[str, Any] = {}
    if spend is not None:
        body["spend"] = [{"threshold_amount": amounts.cents(spend), "interval": per.value}]
    if rpm is not None or tpm is not None:
        rates = {"max_requests_per_1_minute": rpm, "max_tokens_per_1_minute": tpm}
        body["rates"] = [{name: value for name, value in rates.items() if value is not None}]
    if concurrency is not None:
        body["max_concurrent_requests"] = concurrency
    return body
