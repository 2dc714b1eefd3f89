"""What the ledger's steps say about a grant, prepared once per grant and model instead of once per call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from contracts.catalog import Price
from contracts.grant import Grant, Level, LevelKind
from contracts.pricing import Tokens
from contracts.topology import outbox_stream, shard_of, shard_tag
from router.ports import EventSeed, PricedAmount

PLANS_KEPT: Final = 8192
LARGEST_EXACT: Final = 2**53
"""Lua counts in doubles; a larger limit could not be told from this one (9 million USD)."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_us(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def from_us(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)


def periods_at(at_us: int) -> tuple[str, str]:
    """The names of the day and of the month (UTC) that contain a moment."""
    at = from_us(at_us)
    return f"d{at:%Y-%m-%d}", f"m{at:%Y-%m}"


def counted_text(counted: Tokens) -> str:
    """A count as a record keeps it."""
    return f"{counted.input},{counted.cached_input},{counted.output},{counted.reasoning_output}"


@dataclass(frozen=True, slots=True)
class Account:
    """Whose counters a call moves: the four levels' ids, and where they live."""

    organization_id: str
    project_id: str
    owner_id: str
    key_id: str

    @classmethod
    def of(cls, holder: Any) -> Account:
        """From a Grant or a UsageEvent: both name the four."""
        return cls(holder.organization_id, holder.project_id, holder.owner_id, holder.key_id)

    @property
    def shard(self) -> int:
        return shard_of(self.organization_id)

    def level_ids(self) -> tuple[tuple[LevelKind, str], ...]:
        ids = (self.organization_id, self.project_id, self.owner_id, self.key_id)
        return tuple(zip(LevelKind, ids, strict=True))


def epoch_key(shard: int, organization_id: str) -> str:
    """Stands while the organization's counters can be trusted."""
    return f"tern:{shard_tag(shard)}:epoch:{organization_id}"


def deadlines_key(shard: int) -> str:
    return f"tern:{shard_tag(shard)}:deadlines"


def record_key(shard: int, call_id: str) -> str:
    return f"tern:{shard_tag(shard)}:call:{call_id}"


def done_key(shard: int, call_id: str) -> str:
    return f"tern:{shard_tag(shard)}:done:{call_id}"


def level_key(shard: int, organization_id: str, kind: LevelKind, level_id: str) -> str:
    """A user may belong to several organizations and owes to each apart, so the organization is in the key."""
    return f"tern:{shard_tag(shard)}:level:{organization_id}:{kind}:{level_id}"


@dataclass(frozen=True, slots=True)
class StepKeys:
    """The keys of one account's steps, in the order that every script declares them."""

    organization_id: str
    shard: int
    tag: str
    epoch: str
    deadlines: str
    outbox: str
    levels: tuple[str, ...]

    @classmethod
    def of(cls, account: Account) -> StepKeys:
        shard = account.shard
        levels = tuple(level_key(shard, account.organization_id, *level) for level in account.level_ids())
        return cls(
            organization_id=account.organization_id,
            shard=shard,
            tag=shard_tag(shard),
            epoch=epoch_key(shard, account.organization_id),
            deadlines=deadlines_key(shard),
            outbox=outbox_stream(shard),
            levels=levels,
        )

    def of_call(self, call_id: str) -> tuple[str, ...]:
        record, done = f"tern:{self.tag}:call:{call_id}", f"tern:{self.tag}:done:{call_id}"
        return (self.epoch, record, done, self.deadlines, self.outbox, *self.levels)


def _bucket(kind: str, model_id: str | None, limit: int | None) -> list[Any]:
    """The two fields of a bucket, and its limit."""
    name = f"{kind}:{model_id or '*'}"
    return [f"{name}:used", f"{name}:at", limit]


def limits_of(level: Level, model_id: str) -> dict[str, Any]:
    """The limits of one level that a call to `model_id` meets, as the scripts read them."""
    rates = [rate for rate in level.rates if rate.model_id in (None, model_id)]
    limits: dict[str, list[list[Any]]] = {
        "spend": [[limit.period.value, min(limit.limit_nano_usd, LARGEST_EXACT)] for limit in level.spend],
        "requests": [_bucket("rpm", rate.model_id, rate.requests_per_minute) for rate in rates],
        "tokens": [_bucket("tpm", rate.model_id, rate.tokens_per_minute) for rate in rates],
    }
    given = {name: [limit for limit in values if limit[-1] is not None] for name, values in limits.items()}
    present: dict[str, Any] = {name: values for name, values in given.items() if values}
    if level.concurrency is not None:
        present["slots"] = level.concurrency
    return present


@dataclass(slots=True)
class Plan:
    """Keys, limits and facts of one grant and model."""

    grant: Grant
    keys: StepKeys
    limits: str
    _facts: str
    _prices: tuple[Price, ...] = ()
    _prices_json: str = "[]"
    _effective_us: tuple[int, ...] = ()

    @classmethod
    def of(cls, grant: Grant, model_id: str) -> Plan:
        limits = json.dumps([limits_of(level, model_id) for level in grant.levels], separators=(",", ":"))
        facts = {
            "organization_id": grant.organization_id,
            "project_id": grant.project_id,
            "owner_kind": grant.owner_kind,
            "owner_id": grant.owner_id,
            "key_id": grant.key_id,
            "model_id": model_id,
        }
        return cls(grant, StepKeys.of(Account.of(grant)), limits, json.dumps(facts, separators=(",", ":"))[:-1])

    def facts(self, seed: EventSeed) -> str:
        """What a reaper needs to write the event of this call, as JSON."""
        return (
            f'{self._facts},"prices":{self._prices_json},"operation":"{seed.operation.value}",'
            f'"stream":{"true" if seed.stream else "false"},"input_tokens":{seed.input_tokens}}}'
        )

    def amounts(self, amounts: Sequence[PricedAmount]) -> list[int]:
        """Pairs of a price's first microsecond and the amount at it. Also keeps the prices for `facts`."""
        prices = tuple([amount.price for amount in amounts])
        if len(prices) != len(self._prices) or any(a is not b for a, b in zip(prices, self._prices, strict=True)):
            self._prices = prices
            self._prices_json = f"[{','.join(price.model_dump_json() for price in prices)}]"
            self._effective_us = tuple(to_us(price.effective_from) for price in prices)
        pairs: list[int] = []
        for effective_us, amount in zip(self._effective_us, amounts, strict=True):
            pairs += (effective_us, amount.amount_nano_usd)
        return pairs


@dataclass(slots=True)
class PlanBook:
    """Plans by the identity of the grant: a changed grant is a new object and gets a new plan."""

    _plans: dict[tuple[int, str], Plan] = field(default_factory=dict)

    def plan(self, grant: Grant, model_id: str) -> Plan:
        found = self._plans.get((id(grant), model_id))
        if found is not None and found.grant is grant:
            return found
        if len(self._plans) >= PLANS_KEPT:
            self._plans.clear()
        plan = self._plans[id(grant), model_id] = Plan.of(grant, model_id)
        return plan
