"""What the stops need from the world outside: values and Protocols. Each port has a real and a memory twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from contracts.catalog import Catalog, Operation, Price, Upstream
from contracts.grant import Grant, LevelKind
from contracts.grant import Refusal as KeyRefusal
from contracts.pricing import Tokens
from contracts.spend import SpendReport
from contracts.usage_event import UsageEvent


class LedgerUnavailableError(Exception):
    """The ledger cannot answer now; nothing is known about the step that was asked for."""


class UnpricedError(Exception):
    """No price of the model is in force at the ledger's clock; nothing was reserved."""


class DirectoryUnavailableError(Exception):
    """Neither a fresh enough cached grant nor org_service can answer."""


@dataclass(frozen=True, slots=True)
class PricedAmount:
    """What a call would cost at one price; the ledger picks the one in force at its own clock."""

    price: Price
    amount_nano_usd: int


@dataclass(frozen=True, slots=True)
class ReserveRequest:
    """`tokens` is what the token buckets are charged with: input bound plus output estimate. `amounts` is not
    empty and sorted by `price.effective_from`. `seed` is the event that a reaper would complete."""

    call_id: str
    grant: Grant
    model_id: str
    tokens: int
    amounts: tuple[PricedAmount, ...]
    seed: EventSeed


@dataclass(frozen=True, slots=True)
class EventSeed:
    """The facts about a call that are known before it is sent, kept with the reservation for the reaper."""

    operation: Operation
    stream: bool
    input_tokens: int


@dataclass(frozen=True, slots=True)
class Headroom:
    """The tightest rate limit of each dimension after this reserve, for `x-ratelimit-*`; None where unlimited."""

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests_ms: int | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """An admitted call. `occurred_at` is the ledger's clock at reserve and pins period, price and counters:
    charge with `price`, whatever the catalog says by then."""

    call_id: str
    grant: Grant
    model_id: str
    occurred_at: datetime
    price: Price
    reserved_nano_usd: int
    reserved_tokens: int
    headroom: Headroom
    seed: EventSeed


class Dimension(StrEnum):
    SPEND = "spend"
    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENCY = "concurrency"


@dataclass(frozen=True, slots=True)
class Refused:
    """The verdict: which level and limit said no, what remains of it and when it resets (None: never).

    `limit`, `requested` and `remaining` are nano-USD, requests, tokens or calls, by `dimension`; `remaining` may
    be negative (debt). `possible` is False where no waiting helps: the request alone exceeds the limit.
    """

    level: LevelKind
    level_id: str
    dimension: Dimension
    limit: int
    remaining: int
    requested: int
    retry_after_ms: int | None
    possible: bool = True


class ExtendOutcome(StrEnum):
    EXTENDED = "extended"
    REFUSED = "refused"
    """A spend limit has no room: end the stream. The lease itself was renewed."""
    GONE = "gone"
    """Reaped, released or settled already. A call that Redis lost in a crash is put back instead."""


class SettleOutcome(StrEnum):
    SETTLED = "settled"
    ALREADY = "already"
    CORRECTED = "corrected"
    """The call had been reaped; the difference was charged."""
    UNKNOWN = "unknown"
    """The ledger did not know the call; it was charged all the same."""
    SPOOLED = "spooled"
    """The ledger cannot be reached; the settlement waits on disk and is replayed."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """A reservation whose deadline passed. `record` holds its clock (`at`), the last count that its router
    recorded and the facts of its event, as router.duties.reap reads them."""

    call_id: str
    shard: int
    record: dict[str, str]


@dataclass(frozen=True, slots=True)
class Balance:
    """What one level owes, in nano-USD by period (`d2026-11-20`, `m2026-11`, `all`). `held` is spent plus
    reserved; `slots` are calls in flight."""

    level: LevelKind
    level_id: str
    spent_nano_usd: dict[str, int]
    held_nano_usd: dict[str, int]
    slots: int


class Ledger(Protocol):
    """Reserve, extend, settle, reap, release: each one atomic and idempotent by call id.

    Every method raises LedgerUnavailableError, quickly, when the ledger cannot answer.
    """

    async def reserve(self, request: ReserveRequest) -> Reservation | Refused:
        """Hold money, tokens, a request and a slot on all four levels, or on none. Raises UnpricedError."""
        ...

    async def extend(
        self, reservation: Reservation, counted: Tokens, more_nano_usd: int = 0, more_tokens: int = 0
    ) -> ExtendOutcome:
        """Renew the lease and record the running count; with `more_*` also reserve more money and tokens."""
        ...

    async def settle(self, reservation: Reservation, event: UsageEvent) -> SettleOutcome:
        """Release the reservation, record the spend and append the event, in one atomic step."""
        ...

    async def replay(self, event: UsageEvent) -> SettleOutcome:
        """Settle from the event alone, as the spool does."""
        ...

    async def release(self, call_id: str, grant: Grant) -> None:
        """Give a reservation back unspent. A tombstone outlives every timeout, so that a reserve of the same id
        that arrives later is refused."""
        ...

    async def overdue(self, shard: int, limit: int) -> list[Overdue]: ...

    async def reap(self, overdue: Overdue, event: UsageEvent) -> bool:
        """Settle at the recorded count; False if another replica or the router itself was faster."""
        ...

    async def balances(self, grant: Grant) -> list[Balance]:
        """Organization, project, user and key, in this order."""
        ...


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One entry of a shard's outbox: its stream id and the encoded usage event, correction applied."""

    entry_id: str
    event: bytes


class Outbox(Protocol):
    """The streams that `settle` appends to, read by consumer group."""

    async def read(self, shard: int, limit: int) -> list[OutboxEntry]:
        """New entries, and those that a dead consumer left behind, claimed for this consumer."""
        ...

    async def remove(self, shard: int, entry_ids: list[str]) -> None:
        """Acknowledge and delete entries that are safe elsewhere."""
        ...


class Broker(Protocol):
    async def publish(self, events: Sequence[bytes]) -> None:
        """One message with all events; returns once the broker confirmed it. Raises BrokerUnavailableError."""
        ...


class BrokerUnavailableError(Exception):
    """The broker did not confirm; the batch stays in the outbox."""


class HistoryUnavailableError(Exception):
    """Analytics cannot say now what was spent."""


class SpendHistory(Protocol):
    """What was spent, as analytics recorded it: the source from which lost counters are rebuilt."""

    async def spent(self, organization_id: str, at: datetime) -> SpendReport:
        """Per level, in the day and the month that contain `at`, and ever. Raises HistoryUnavailableError."""
        ...


class KeyDirectory(Protocol):
    """Who is behind a key, answered from memory whenever possible."""

    async def find(self, key_hash: str) -> Grant | KeyRefusal:
        """Raises DirectoryUnavailableError when a key is unknown here and org_service does not answer."""
        ...

    def is_live(self, grant: Grant) -> bool:
        """Whether the key still stands, from memory alone: asked at every extension of a running stream."""
        ...

    def used(self, grant: Grant, at: datetime) -> None:
        """A caller showed the key. Costs an assignment; administrators see it later, as the key's last use."""
        ...


class CatalogSource(Protocol):
    def snapshot(self) -> Catalog:
        """The newest catalog that this replica has seen."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """An upstream as this replica sees it: `load` is calls in flight there; `lacks` are operations that the server
    was seen not to have; `answers`: it is not healthy, but what was wrong with it were its answers."""

    upstream: Upstream
    healthy: bool
    load: int
    lacks: frozenset[Operation] = frozenset()
    answers: bool = False
