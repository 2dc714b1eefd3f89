"""Stop 2, Authorization header -> Grant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from contracts.api_key import KeyKind, MalformedKeyError, digest, parse
from contracts.grant import Grant, Refusal
from router.errors import DirectoryDownError, UnauthenticatedError
from router.ports import DirectoryUnavailableError, KeyDirectory


async def authenticate(headers: Mapping[bytes, bytes], directory: KeyDirectory, now: datetime) -> Grant:
    """The grant behind the caller's key; raises UnauthenticatedError, or DirectoryDownError.

    Unknown, revoked, expired and archived keys get one answer, so that nobody learns which keys ever existed.
    """
    secret = _bearer(headers.get(b"authorization"))
    try:
        kind = parse(secret)
    except MalformedKeyError as error:
        raise UnauthenticatedError from error
    if kind is KeyKind.ADMIN:
        raise UnauthenticatedError("An admin key cannot call models; use a project key.")
    try:
        grant = await directory.find(digest(secret))
    except DirectoryUnavailableError as error:
        raise DirectoryDownError from error
    if isinstance(grant, Refusal) or (grant.expires_at is not None and grant.expires_at <= now):
        raise UnauthenticatedError
    _check_named(headers, b"openai-organization", grant.organization_id)
    _check_named(headers, b"openai-project", grant.project_id)
    directory.used(grant, now)
    return grant


def _bearer(authorization: bytes | None) -> str:
    if authorization is None:
        raise UnauthenticatedError("You didn't provide an API key. Use an Authorization header: Bearer YOUR_KEY.")
    scheme, _, secret = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        raise UnauthenticatedError("The Authorization header must be: Bearer YOUR_KEY.")
    return secret.strip().decode("latin-1")


def _check_named(headers: Mapping[bytes, bytes], name: bytes, own: str) -> None:
    named = headers.get(name)
    if named is not None and named != own.encode():
        what = name.removeprefix(b"openai-").decode()
        message = f"The {name.decode()} header does not match your API key."
        raise UnauthenticatedError(message, code=f"mismatched_{what}")
