"""/v1/organization/models, /aliases, /upstreams, /prices: read by every organization (upstreams by the operator
alone, because addresses are nobody else's business), written by the operator."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from org_service.catalog import repository, service
from org_service.catalog.schemas import (
    AliasPut,
    AliasView,
    ModelCreate,
    ModelUpdate,
    ModelView,
    PriceCreate,
    PriceView,
    UpstreamCreate,
    UpstreamUpdate,
    UpstreamView,
)
from org_service.errors import found
from org_service.paging import Page, PageQuery, page
from org_service.tables import Alias
from org_service.transaction import Admin, Operator
from org_service.wire import Deleted

router = APIRouter(prefix="/v1/organization", tags=["Catalog"])
ModelFilter = Annotated[str | None, Query(max_length=256)]


@router.get("/models")
async def list_models(transaction: Admin, cut: PageQuery) -> Page[ModelView]:
    return page(await repository.list_models(transaction.session, cut), ModelView.of)


@router.post("/models")
async def create_model(transaction: Operator, body: ModelCreate) -> ModelView:
    return ModelView.of(await service.create_model(transaction, body))


@router.get("/models/{model_id:path}")
async def retrieve_model(transaction: Admin, model_id: str) -> ModelView:
    return ModelView.of(await service.get_model(transaction.session, model_id))


@router.post("/models/{model_id:path}")
async def update_model(transaction: Operator, model_id: str, body: ModelUpdate) -> ModelView:
    return ModelView.of(await service.update_model(transaction, model_id, body))


@router.delete("/models/{model_id:path}")
async def delete_model(transaction: Operator, model_id: str) -> Deleted:
    await service.retire_model(transaction, model_id)
    return Deleted(id=model_id, object="organization.model.deleted")


@router.get("/aliases")
async def list_aliases(transaction: Admin, cut: PageQuery) -> Page[AliasView]:
    return page(await repository.list_aliases(transaction.session, cut), AliasView.of)


@router.post("/aliases")
async def put_alias(transaction: Operator, body: AliasPut) -> AliasView:
    return AliasView.of(await service.put_alias(transaction, body))


@router.get("/aliases/{alias_id:path}")
async def retrieve_alias(transaction: Admin, alias_id: str) -> AliasView:
    return AliasView.of(found(await repository.find(transaction.session, Alias, alias_id), "alias", alias_id))


@router.delete("/aliases/{alias_id:path}")
async def delete_alias(transaction: Operator, alias_id: str) -> Deleted:
    await service.delete_alias(transaction, alias_id)
    return Deleted(id=alias_id, object="organization.alias.deleted")


@router.get("/upstreams")
async def list_upstreams(transaction: Operator, cut: PageQuery, model: ModelFilter = None) -> Page[UpstreamView]:
    return page(await repository.list_upstreams(transaction.session, model, cut), UpstreamView.of)


@router.post("/upstreams")
async def create_upstream(transaction: Operator, body: UpstreamCreate) -> UpstreamView:
    return UpstreamView.of(await service.create_upstream(transaction, body))


@router.get("/upstreams/{upstream_id}")
async def retrieve_upstream(transaction: Operator, upstream_id: str) -> UpstreamView:
    return UpstreamView.of(await service.get_upstream(transaction.session, upstream_id))


@router.post("/upstreams/{upstream_id}")
async def update_upstream(transaction: Operator, upstream_id: str, body: UpstreamUpdate) -> UpstreamView:
    return UpstreamView.of(await service.update_upstream(transaction, upstream_id, body))


@router.delete("/upstreams/{upstream_id}")
async def delete_upstream(transaction: Operator, upstream_id: str) -> Deleted:
    await service.delete_upstream(transaction, upstream_id)
    return Deleted(id=upstream_id, object="organization.upstream.deleted")


@router.get("/prices")
async def list_prices(transaction: Admin, cut: PageQuery, model: ModelFilter = None) -> Page[PriceView]:
    return page(await repository.list_prices(transaction.session, model, cut), PriceView.of)


@router.post("/prices")
async def create_price(transaction: Operator, body: PriceCreate) -> PriceView:
    return PriceView.of(await service.create_price(transaction, body))


@router.get("/prices/{price_id}")
async def retrieve_price(transaction: Admin, price_id: str) -> PriceView:
    return PriceView.of(await service.get_price(transaction.session, price_id))
