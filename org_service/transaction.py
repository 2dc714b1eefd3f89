"""One request is one transaction: who asks, when, and the session in which everything happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from org_service.authenticate import Caller, authenticate, present_service_token, take_turn
from org_service.errors import ForbiddenError, NotAuthenticatedError
from org_service.last_use import AdminKeyUses
from org_service.parts import Parts

_READS: Final = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a service function works with. Every query is scoped to `organization_id`."""

    session: AsyncSession
    caller: Caller
    now: datetime

    @property
    def organization_id(self) -> str:
        return self.caller.organization_id


def parts_of(request: Request) -> Parts:
    parts = request.app.state.parts
    assert isinstance(parts, Parts)
    return parts


def uses_of(request: Request) -> AdminKeyUses:
    uses = request.app.state.admin_key_uses
    assert isinstance(uses, AdminKeyUses)
    return uses


_bearer = HTTPBearer(auto_error=False, scheme_name="AdminApiKeyAuth", description="An admin key or service token")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def _presented(credentials: HTTPAuthorizationCredentials | None) -> str:
    if credentials is None:
        raise NotAuthenticatedError("You did not provide an API key in an 'Authorization: Bearer' header.")
    return credentials.credentials


async def _as_admin(request: Request, credentials: Credentials) -> AsyncIterator[Transaction]:
    parts = parts_of(request)
    secret = _presented(credentials)
    async with parts.database.transaction() as session:
        now = parts.now()
        caller = await authenticate(session, secret, now)
        uses_of(request).note(caller, now)
        request.scope["tern.organization_id"] = caller.organization_id
        _check_organization(request, caller)
        if request.method not in _READS:
            await take_turn(session, caller.organization_id)
        yield Transaction(session, caller, now)


def _check_organization(request: Request, caller: Caller) -> None:
    """The SDK sends this header when it was given an organization: it has to be the key's own."""
    named = request.headers.get("openai-organization")
    if named is not None and named != caller.organization_id:
        raise NotAuthenticatedError(
            "The OpenAI-Organization header does not name the organization of this API key.",
            code="mismatched_organization",
        )


Admin = Annotated[Transaction, Depends(_as_admin, scope="function")]
"""An authenticated admin key's transaction, committed before the reply is sent."""


async def _as_operator(transaction: Admin) -> Transaction:
    if not transaction.caller.is_operator:
        raise ForbiddenError("Only an admin key of the operator's organization may do this.")
    return transaction


Operator = Annotated[Transaction, Depends(_as_operator, scope="function")]
"""As Admin, for the organization that runs this deployment."""


@dataclass(frozen=True, slots=True)
class Internal:
    """The transaction of another service of this deployment, scoped by what it asks for. All that it may change is
    when a key was last used."""

    session: AsyncSession
    now: datetime
    admin_key_uses: AdminKeyUses


async def _as_service(request: Request, credentials: Credentials) -> AsyncIterator[Internal]:
    parts = parts_of(request)
    present_service_token(_presented(credentials), parts.service_token)
    async with parts.database.transaction() as session:
        yield Internal(session, parts.now(), uses_of(request))


Service = Annotated[Internal, Depends(_as_service, scope="function")]
