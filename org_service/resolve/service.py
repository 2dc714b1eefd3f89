"""Building what routers and analytics are told: grants, admin identities and the catalog snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from contracts import catalog as contract
from contracts.catalog import Catalog, Operation
from contracts.grant import (
    AdminIdentity,
    AdminResolution,
    Grant,
    LevelKind,
    ModelPermission,
    OwnerKind,
    PermissionMode,
    Refusal,
    Resolution,
)
from contracts.grant import Level as GrantLevel
from contracts.grant import RateLimit as GrantRate
from contracts.grant import SpendLimit as GrantSpend
from contracts.key_use import KeyUse
from org_service import last_use, tables
from org_service.authenticate import find_admin
from org_service.catalog import repository as catalog
from org_service.level import Level
from org_service.resolve import repository
from org_service.resolve.repository import KeyFacts
from org_service.transaction import Internal
from org_service.wire import NANO_USD_PER_CENT


async def resolve_key(internal: Internal, key_hash: str) -> Resolution:
    """The grant behind a project key, or why there is none."""
    facts = await repository.find_key(internal.session, key_hash)
    if facts is None:
        return Resolution(refusal=Refusal.UNKNOWN)
    refusal = _refusal(internal, facts)
    if refusal is not None:
        return Resolution(refusal=refusal)
    return Resolution(grant=await _grant(internal, facts))


def _refusal(internal: Internal, facts: KeyFacts) -> Refusal | None:
    if facts.owner_left or facts.key.revoked_at is not None or facts.secret.revoked_at is not None:
        return Refusal.REVOKED
    if facts.project.archived_at is not None:
        return Refusal.ARCHIVED
    ends = [at for at in (facts.key.expires_at, facts.secret.valid_until) if at is not None]
    return Refusal.EXPIRED if ends and min(ends) <= internal.now else None


async def _grant(internal: Internal, facts: KeyFacts) -> Grant:
    key = facts.key
    owner_kind = OwnerKind.USER if key.user_id is not None else OwnerKind.SERVICE_ACCOUNT
    owner_id = key.user_id or key.service_account_id or ""
    organization, project, owner, own = (
        Level(LevelKind.ORGANIZATION, key.organization_id),
        Level(LevelKind.PROJECT, key.project_id),
        Level(LevelKind.USER, owner_id),
        Level(LevelKind.KEY, key.id),
    )
    limits = await _Limits.load(internal, key.organization_id, [organization, project, owner, own])
    ends = [at for at in (key.expires_at, facts.secret.valid_until) if at is not None]
    return Grant(
        key_id=key.id,
        organization_id=key.organization_id,
        project_id=key.project_id,
        owner_kind=owner_kind,
        owner_id=owner_id,
        expires_at=min(ends, default=None),
        levels=(limits.on(organization), limits.on(project), limits.on(owner), limits.on(own)),
        permissions=await _permissions(internal, key.organization_id, [project, own]),
        version=facts.version,
    )


class _Limits:
    """Every limit of a grant, read with one query per table and handed out level by level."""

    def __init__(
        self,
        spend: Sequence[tables.SpendLimit],
        alerts: Sequence[tables.SpendAlert],
        rates: Sequence[tables.RateLimit],
        concurrency: Sequence[tables.ConcurrencyLimit],
    ) -> None:
        self._spend, self._alerts, self._rates, self._concurrency = spend, alerts, rates, concurrency

    @classmethod
    async def load(cls, internal: Internal, organization_id: str, levels: Sequence[Level]) -> _Limits:
        scope = (organization_id, levels)
        return cls(
            await repository.list_on(internal.session, tables.SpendLimit, *scope),
            await repository.list_on(internal.session, tables.SpendAlert, *scope),
            await repository.list_on(internal.session, tables.RateLimit, *scope),
            await repository.list_on(internal.session, tables.ConcurrencyLimit, *scope),
        )

    def on(self, level: Level) -> GrantLevel:
        calls = [row.calls for row in self._concurrency if _stands_on(row, level)]
        return GrantLevel(
            kind=level.kind,
            id=level.id,
            spend=tuple(self._spend_limit(row) for row in self._spend if _stands_on(row, level)),
            rates=tuple(_rate(row) for row in self._rates if _stands_on(row, level) and _limits_anything(row)),
            concurrency=calls[0] if calls else None,
        )

    def _spend_limit(self, row: tables.SpendLimit) -> GrantSpend:
        of_same = [
            alert for alert in self._alerts
            if (alert.level_kind, alert.level_id, alert.period) == (row.level_kind, row.level_id, row.period)
        ]  # fmt: skip
        percents = {
            round(100 * alert.threshold_cents / row.threshold_cents) for alert in of_same if row.threshold_cents
        }
        return GrantSpend(
            limit_nano_usd=row.threshold_cents * NANO_USD_PER_CENT,
            period=row.period,
            alert_percents=tuple(sorted(percents)),
        )


def _stands_on(row: tables.SpendLimit | tables.RateLimit | tables.ConcurrencyLimit, level: Level) -> bool:
    return row.level_kind == level.kind.value and row.level_id == level.id


def _limits_anything(row: tables.RateLimit) -> bool:
    return row.requests_per_minute is not None or row.tokens_per_minute is not None


def _rate(row: tables.RateLimit) -> GrantRate:
    return GrantRate(
        model_id=row.model_id or None,
        requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute,
    )


async def _permissions(
    internal: Internal, organization_id: str, levels: Sequence[Level]
) -> tuple[ModelPermission, ...]:
    rows = await repository.list_on(internal.session, tables.ModelPermission, organization_id, levels)
    return tuple(
        ModelPermission(mode=PermissionMode(row.mode), model_ids=frozenset(row.model_ids)) for row in rows
    )


async def resolve_admin_key(internal: Internal, key_hash: str) -> AdminResolution:
    caller = await find_admin(internal.session, key_hash, internal.now)
    if isinstance(caller, Refusal):
        return AdminResolution(refusal=caller)
    internal.admin_key_uses.note(caller, internal.now)
    return AdminResolution(identity=AdminIdentity(key_id=caller.key_id, organization_id=caller.organization_id))


async def record_key_uses(internal: Internal, uses: Sequence[KeyUse]) -> None:
    """What a router saw. Nobody else is told: grants do not depend on it."""
    await last_use.write(internal.session, tables.ApiKey, uses, internal.now)


async def read_catalog(internal: Internal) -> Catalog:
    """The snapshot. The version is read first, so that it is never newer than what comes with it."""
    session = internal.session
    version = await catalog.version(session)
    prices = await catalog.prices_by_model(session)
    models = [row for row in await catalog.all_of(session, tables.Model) if row.retired_at is None]
    return Catalog(
        version=version,
        models=tuple(_model(row, prices.get(row.id, [])) for row in models),
        aliases={row.id: row.model_id for row in await catalog.all_of(session, tables.Alias)},
        upstreams=tuple(_upstream(row) for row in await catalog.all_of(session, tables.Upstream)),
    )


def _model(row: tables.Model, prices: Sequence[tables.Price]) -> contract.Model:
    return contract.Model(
        id=row.id,
        operations=frozenset(Operation(name) for name in row.operations),
        context_window_tokens=row.context_window_tokens,
        max_output_tokens=row.max_output_tokens,
        image_input_tokens=row.image_input_tokens,
        owned_by=row.owned_by,
        created_at=row.created_at,
        prices=tuple(price.contract() for price in prices),
    )


def _upstream(row: tables.Upstream) -> contract.Upstream:
    return contract.Upstream(
        id=row.id,
        model_id=row.model_id,
        base_url=row.base_url,
        model_name=row.model_name,
        weight=row.weight,
        api_key=row.api_key,
        capabilities=contract.Capabilities.model_validate(row.capabilities),
    )
