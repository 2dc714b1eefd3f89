"""A fresh installation: the operator's organization with its first project, user and keys, and the catalog.

Idempotent. Secrets come back from the call that made them and never again; the catalog that is given is brought
about on every call, because a local stack's upstreams have new ports after each start.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from contracts import catalog as contract
from contracts.catalog import Catalog
from contracts.grant import OwnerKind
from org_service.admin_keys import service as admin_keys
from org_service.admin_keys.schemas import AdminKeyCreate
from org_service.authenticate import Caller
from org_service.catalog import repository, service
from org_service.catalog.schemas import (
    AliasPut,
    CapabilitiesBody,
    ModelCreate,
    ModelUpdate,
    PriceCreate,
    UpstreamCreate,
    UpstreamUpdate,
)
from org_service.db import Database, driver_url
from org_service.keys import issue
from org_service.orgs import repository as orgs
from org_service.orgs import service as founding
from org_service.orgs.schemas import OrganizationCreate
from org_service.paging import Cut
from org_service.parts import utc_now
from org_service.projects import repository as projects
from org_service.projects import service as project_service
from org_service.projects.schemas import ProjectCreate
from org_service.tables import Alias, Upstream
from org_service.transaction import Transaction
from org_service.users import repository as users
from org_service.users import service as user_service
from org_service.users.schemas import UserCreate

FIRST: Final = Cut(after=None, before=None, limit=1, descending=False)


_ADVISORY_LOCK: Final = 0x626F6F74
"""Two first starts at once found one organization."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What should be there afterwards. With `exclusive_upstreams`, no other upstream stays. `fresh_keys` makes new
    keys even where the organization stands: the secrets of the first ones were lost."""

    organization_name: str = "Local"
    owner_email: str = "owner@localhost"
    project_name: str = "Default project"
    key_name: str = "First key"
    catalog: Catalog = field(default_factory=Catalog)
    exclusive_upstreams: bool = False
    fresh_keys: bool = False


@dataclass(frozen=True, slots=True)
class Installation:
    """The secrets are None unless this call made them."""

    organization_id: str
    project_id: str | None = None
    api_key: str | None = field(default=None, repr=False)
    admin_key: str | None = field(default=None, repr=False)


async def bootstrap(database_url: str, plan: Plan) -> Installation:
    """Bring the plan about in a migrated database, in one transaction."""
    engine = create_async_engine(driver_url(database_url))
    try:
        async with Database(engine).transaction() as session:
            return await _bootstrap(session, plan)
    finally:
        await engine.dispose()


async def _bootstrap(session: AsyncSession, plan: Plan) -> Installation:
    await session.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    operator = await orgs.find_operator(session)
    if operator is None:
        installation = await _found(session, plan)
    else:
        installation = Installation(operator.id)
        if plan.fresh_keys:
            installation = await _renew(session, operator.id, plan)
    caller = Caller(installation.organization_id, is_operator=True)
    await _bring_about(Transaction(session, caller, utc_now()), plan)
    return installation


async def _found(session: AsyncSession, plan: Plan) -> Installation:
    system = Transaction(session, Caller(""), utc_now())
    body = OrganizationCreate(
        name=plan.organization_name, owner_email=plan.owner_email, project_name=plan.project_name
    )
    founded = await founding.found_organization(system, body, is_operator=True)
    organization_id = founded.organization.id
    caller = Caller(organization_id, founded.owner.id, founded.owner.email, is_operator=True)
    owner = issue.Owner(OwnerKind.USER, founded.owner.id)
    inside = Transaction(session, caller, system.now)
    issued = await issue.key(inside, founded.project.id, owner, plan.key_name)
    return Installation(organization_id, founded.project.id, issued.secret, founded.admin_secret)


async def _renew(session: AsyncSession, organization_id: str, plan: Plan) -> Installation:
    system = Transaction(session, Caller(organization_id), utc_now())
    owner = await users.find_by_email(system, plan.owner_email)
    if owner is None:
        owner = await user_service.create(system, UserCreate(email=plan.owner_email, role="owner"))
    inside = replace(system, caller=Caller(organization_id, owner.id, owner.email, is_operator=True))
    page = await projects.list_page(inside, include_archived=False, cut=FIRST)
    project = (
        page.rows[0] if page.rows else await project_service.create(inside, ProjectCreate(name=plan.project_name))
    )
    issued = await issue.key(inside, project.id, issue.Owner(OwnerKind.USER, owner.id), plan.key_name)
    _, admin_secret = await admin_keys.create(inside, AdminKeyCreate(name="First admin key"))
    return Installation(organization_id, project.id, issued.secret, admin_secret)


async def _bring_about(transaction: Transaction, plan: Plan) -> None:
    for model in plan.catalog.models:
        await _model(transaction, model)
    for alias_id, model_id in plan.catalog.aliases.items():
        alias = await repository.find(transaction.session, Alias, alias_id)
        if alias is None or alias.model_id != model_id:
            await service.put_alias(transaction, AliasPut(id=alias_id, model=model_id))
    for upstream in plan.catalog.upstreams:
        await _upstream(transaction, upstream)
    if plan.exclusive_upstreams:
        wanted = {upstream.id for upstream in plan.catalog.upstreams}
        for row in await repository.all_of(transaction.session, Upstream):
            if row.id not in wanted:
                await service.delete_upstream(transaction, row.id)


async def _model(transaction: Transaction, model: contract.Model) -> None:
    facts = {
        "operations": sorted(model.operations),
        "context_window_tokens": model.context_window_tokens,
        "max_output_tokens": model.max_output_tokens,
        "image_input_tokens": model.image_input_tokens,
        "owned_by": model.owned_by,
    }
    row = await repository.find_live_model(transaction.session, model.id)
    if row is None:
        await service.create_model(transaction, ModelCreate.model_validate({"id": model.id} | facts))
    elif any(getattr(row, name) != value for name, value in facts.items()):
        await service.update_model(transaction, model.id, ModelUpdate.model_validate(facts))
    for price in model.prices:
        await _price(transaction, model.id, price)


async def _price(transaction: Transaction, model_id: str, price: contract.Price) -> None:
    """A price that begins at the same second is the same price: prices never change."""
    prices = await repository.prices_by_model(transaction.session)
    begins = {int(row.effective_from.timestamp()) for row in prices.get(model_id, [])}
    second = int(price.effective_from.timestamp())
    if second in begins:
        return
    rates = price.model_dump(
        include={name for name in contract.Price.model_fields if name.endswith("_per_million")}
    )
    await service.create_price(transaction, PriceCreate(model=model_id, effective_from=second, **rates))


async def _upstream(transaction: Transaction, upstream: contract.Upstream) -> None:
    capabilities = CapabilitiesBody(**upstream.capabilities.model_dump())
    facts = {
        "base_url": upstream.base_url,
        "model_name": upstream.model_name,
        "weight": upstream.weight,
        "api_key": upstream.api_key,
    }
    row = await repository.find(transaction.session, Upstream, upstream.id)
    if row is not None and row.model_id != upstream.model_id:
        await service.delete_upstream(transaction, row.id)
        row = None
    if row is None:
        body = UpstreamCreate(model=upstream.model_id, capabilities=capabilities, **facts)
        await service.create_upstream(transaction, body, upstream.id)
    elif row.capabilities != capabilities.model_dump() or any(getattr(row, name) != facts[name] for name in facts):
        await service.update_upstream(transaction, row.id, UpstreamUpdate(capabilities=capabilities, **facts))
