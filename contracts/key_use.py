"""When keys were last used: routers tell org_service now and then, so that no request costs it a write."""

from __future__ import annotations

from typing import Final

from pydantic import AwareDatetime, Field

from contracts.wire import Wire

KEY_USES_PER_REPORT: Final = 500
"""A router serves calls while it writes a report: about a millisecond each."""


class KeyUse(Wire):
    """`at` is by the clock of whoever saw the key; org_service never believes a time that is still to come."""

    key_id: str
    organization_id: str
    at: AwareDatetime


class KeyUseReport(Wire):
    """The last use of each project key since it was told last. Telling it twice changes nothing."""

    uses: tuple[KeyUse, ...] = Field(max_length=KEY_USES_PER_REPORT)
