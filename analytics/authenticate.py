"""Authorization header -> the organization whose numbers may be seen, or the right to use /internal."""

from __future__ import annotations

import hmac

from analytics.admin_directory import AdminDirectory
from analytics.errors import DirectoryUnavailableError, UnauthenticatedError, UnavailableError
from contracts.api_key import KeyKind, MalformedKeyError, digest, parse
from contracts.grant import AdminIdentity

MISSING = "You didn't provide an API key. Send an admin key as `Authorization: Bearer <key>`."
INCORRECT = "Incorrect API key provided."
NOT_ADMIN = "This address needs an admin API key; project keys are not accepted here."
NO_ANSWER = "The key cannot be checked right now. Please try again."


async def authenticate(authorization: str | None, directory: AdminDirectory) -> AdminIdentity:
    """Raises UnauthenticatedError (one answer for unknown, revoked and expired) or UnavailableError."""
    secret = _bearer(authorization)
    try:
        kind = parse(secret)
    except MalformedKeyError:
        raise UnauthenticatedError(INCORRECT) from None
    if kind is not KeyKind.ADMIN:
        raise UnauthenticatedError(NOT_ADMIN)
    try:
        answer = await directory.find(digest(secret))
    except DirectoryUnavailableError as error:
        raise UnavailableError(NO_ANSWER) from error
    if not isinstance(answer, AdminIdentity):
        raise UnauthenticatedError(INCORRECT)
    return answer


def require_service_token(authorization: str | None, token: str) -> None:
    """Raises UnauthenticatedError; compares in constant time."""
    if not hmac.compare_digest(_bearer(authorization).encode(), token.encode()):
        raise UnauthenticatedError("This address needs a service token.")


def _bearer(authorization: str | None) -> str:
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not credentials.strip():
        raise UnauthenticatedError(MISSING)
    return credentials.strip()
