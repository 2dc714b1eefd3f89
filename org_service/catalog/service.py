"""The catalog: what can be asked for, who answers and what it costs. Only the operator changes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from org_service import audit, outbox
from org_service.catalog import repository
from org_service.catalog.schemas import (
    AliasPut,
    ModelCreate,
    ModelUpdate,
    PriceCreate,
    UpstreamCreate,
    UpstreamUpdate,
)
from org_service.errors import ConflictError, InvalidRequestError, found
from org_service.ids import new_id
from org_service.tables import Alias, Model, Price, Upstream
from org_service.transaction import Transaction


async def _changed(transaction: Transaction, event_type: str, resource_id: str, changes: dict[str, Any]) -> None:
    await transaction.session.flush()
    await outbox.announce_catalog(transaction.session)
    audit.record(transaction, event_type, resource_id, changes=changes)


async def get_model(session: AsyncSession, model_id: str) -> Model:
    return found(await repository.find_live_model(session, model_id), "model", model_id)


async def create_model(transaction: Transaction, body: ModelCreate) -> Model:
    """A retired id may be taken up again; its prices are still in force."""
    model = await repository.find(transaction.session, Model, body.id)
    if model is not None and model.retired_at is None:
        raise ConflictError(f"The model '{body.id}' exists already.", param="id")
    if await repository.find(transaction.session, Alias, body.id) is not None:
        raise ConflictError(f"'{body.id}' is an alias already.", param="id")
    if model is None:
        model = Model(id=body.id, created_at=transaction.now)
        transaction.session.add(model)
    model.retired_at = None
    _fill(model, body)
    await _changed(transaction, "model.created", model.id, body.model_dump(mode="json"))
    return model


def _fill(model: Model, body: ModelCreate | ModelUpdate) -> None:
    for name, value in body.model_dump(mode="json", exclude={"id"}, exclude_none=True).items():
        setattr(model, name, value)
    if model.max_output_tokens > model.context_window_tokens:
        raise InvalidRequestError("The output cannot exceed the context window.", param="max_output_tokens")


async def update_model(transaction: Transaction, model_id: str, body: ModelUpdate) -> Model:
    model = await get_model(transaction.session, model_id)
    _fill(model, body)
    await _changed(transaction, "model.updated", model.id, body.model_dump(mode="json", exclude_none=True))
    return model


async def retire_model(transaction: Transaction, model_id: str) -> None:
    """Out of the catalog, with its aliases and upstreams; its prices stay, because events name them."""
    model = await get_model(transaction.session, model_id)
    model.retired_at = transaction.now
    aliases = await repository.all_of(transaction.session, Alias)
    upstreams = await repository.all_of(transaction.session, Upstream)
    rows: list[Alias | Upstream] = [*aliases, *upstreams]
    for row in rows:
        if row.model_id == model_id:
            await transaction.session.delete(row)
    await _changed(transaction, "model.deleted", model.id, {})


async def put_alias(transaction: Transaction, body: AliasPut) -> Alias:
    await get_model(transaction.session, body.model)
    if await repository.find_live_model(transaction.session, body.id) is not None:
        raise ConflictError(f"'{body.id}' is a model's own id.", param="id")
    alias = await repository.find(transaction.session, Alias, body.id)
    if alias is None:
        alias = Alias(id=body.id, created_at=transaction.now)
        transaction.session.add(alias)
    alias.model_id = body.model
    await _changed(transaction, "alias.updated", alias.id, {"model": body.model})
    return alias


async def delete_alias(transaction: Transaction, alias_id: str) -> None:
    alias = found(await repository.find(transaction.session, Alias, alias_id), "alias", alias_id)
    await transaction.session.delete(alias)
    await _changed(transaction, "alias.deleted", alias_id, {})


async def get_upstream(session: AsyncSession, upstream_id: str) -> Upstream:
    return found(await repository.find(session, Upstream, upstream_id), "upstream", upstream_id)


async def create_upstream(
    transaction: Transaction, body: UpstreamCreate, upstream_id: str | None = None
) -> Upstream:
    await get_model(transaction.session, body.model)
    upstream = Upstream(
        id=upstream_id or new_id("upstream"),
        model_id=body.model,
        base_url=body.base_url,
        model_name=body.model_name or body.model,
        weight=body.weight,
        api_key=body.api_key,
        capabilities=body.capabilities.model_dump(),
        created_at=transaction.now,
    )
    transaction.session.add(upstream)
    await _changed(transaction, "upstream.created", upstream.id, body.model_dump(mode="json", exclude={"api_key"}))
    return upstream


async def update_upstream(transaction: Transaction, upstream_id: str, body: UpstreamUpdate) -> Upstream:
    upstream = await get_upstream(transaction.session, upstream_id)
    for name, value in body.model_dump(exclude_none=True).items():
        setattr(upstream, name, value)
    if "api_key" in body.model_fields_set:
        upstream.api_key = body.api_key
    changes = body.model_dump(mode="json", exclude={"api_key"}, exclude_none=True)
    await _changed(transaction, "upstream.updated", upstream.id, changes)
    return upstream


async def delete_upstream(transaction: Transaction, upstream_id: str) -> None:
    await transaction.session.delete(await get_upstream(transaction.session, upstream_id))
    await _changed(transaction, "upstream.deleted", upstream_id, {})


async def get_price(session: AsyncSession, price_id: str) -> Price:
    return found(await repository.find(session, Price, price_id), "price", price_id)


async def create_price(transaction: Transaction, body: PriceCreate) -> Price:
    """The past is settled: only a model's first price may begin before now."""
    model = await get_model(transaction.session, body.model)
    given = body.effective_from
    effective_from = transaction.now if given is None else datetime.fromtimestamp(given, UTC)
    if effective_from < transaction.now and await repository.has_price(transaction.session, model.id):
        raise InvalidRequestError("A price cannot take effect in the past.", param="effective_from")
    if await repository.find_price_at(transaction.session, model.id, effective_from) is not None:
        raise ConflictError("The model has a price from that moment on already.", param="effective_from")
    rates = body.model_dump(exclude={"model", "effective_from"})
    price = Price(
        id=new_id("price"), model_id=model.id, effective_from=effective_from, created_at=transaction.now, **rates
    )
    transaction.session.add(price)
    await _changed(transaction, "price.created", price.id, body.model_dump(mode="json"))
    return price
