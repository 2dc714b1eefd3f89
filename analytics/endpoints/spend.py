"""GET /internal/v1/spend: what was recorded, for ledgers that lost their counters and for reconciliation."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime

from analytics.authenticate import require_service_token
from analytics.services import services_of
from contracts.spend import SpendReport
from contracts.topology import SPEND_PATH

router = APIRouter(include_in_schema=False)


@router.get(SPEND_PATH)
async def spend(
    request: Request,
    organization_id: Annotated[str, Query(min_length=1, pattern=r"^[^\x00]+$")],
    at: Annotated[AwareDatetime | None, Query()] = None,
) -> SpendReport:
    """Day, month and ever, of the organization and of each project, owner and key in it; `at` defaults to now."""
    services = services_of(request)
    require_service_token(request.headers.get("authorization"), services.service_token)
    moment: datetime = at or services.now()
    return await services.queries.spend(organization_id, moment)
