"""The duty that ends calls whose router died: settled by any replica at the last count recorded."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from contracts.catalog import Price
from contracts.pricing import Tokens, split_cost
from contracts.topology import SHARD_COUNT
from contracts.usage_event import CallStatus, UsageEvent, UsageSource
from router.ledger.plan import from_us
from router.ports import Ledger, LedgerUnavailableError, Overdue

BATCH = 100


def reaped_event(overdue: Overdue) -> UsageEvent:
    """The event of a call from its record alone: the last count recorded, at the price of its reservation.

    A call for which no token was recorded costs nothing. Where only the answer was counted, the prompt is taken
    from the estimate that the reservation was made with.
    """
    record = overdue.record
    facts = json.loads(record["facts"])
    price = Price.model_validate(facts.pop("prices")[int(record["price"])])
    tokens = _recorded_tokens(record["counted"], facts.pop("input_tokens"))
    cost = split_cost(tokens, price)
    return UsageEvent(
        event_id=overdue.call_id,
        occurred_at=from_us(int(record["at"])),
        status=CallStatus.REAPED,
        usage_source=UsageSource.REAPED,
        tokens=tokens,
        cost_nano_usd=cost.total,
        cost_input_nano_usd=cost.input,
        cost_cached_input_nano_usd=cost.cached_input,
        price_version=price.version,
        **facts,
    )


def _recorded_tokens(counted: str, estimated_input: int) -> Tokens:
    given, cached, output, reasoning = (int(count) for count in counted.split(","))
    if output and not given:
        given = estimated_input
    return Tokens(input=given, cached_input=cached, output=output, reasoning_output=reasoning)


@dataclass(slots=True)
class Reaper:
    """Visits every shard once per `interval_seconds`; several replicas may, the ledger lets one win each call."""

    ledger: Ledger
    interval_seconds: float = 2.5
    reaped_total: int = field(default=0, init=False)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.interval_seconds)
            try:
                await self.sweep()
            except LedgerUnavailableError:
                continue

    async def sweep(self) -> int:
        """One visit to every shard; how many calls it ended. Raises LedgerUnavailableError."""
        before = self.reaped_total
        await asyncio.gather(*(self._visit(shard) for shard in range(SHARD_COUNT)))
        return self.reaped_total - before

    async def _visit(self, shard: int) -> None:
        while due := await self.ledger.overdue(shard, BATCH):
            ended = [await self.ledger.reap(overdue, reaped_event(overdue)) for overdue in due]
            self.reaped_total += sum(ended)
            if not any(ended):
                return
