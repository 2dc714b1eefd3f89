"""GET /health (the process lives), /ready (it can answer), /metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from analytics.errors import DatabaseUnavailableError, UnavailableError
from analytics.services import services_of

router = APIRouter(include_in_schema=False)


@router.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/ready")
async def ready(request: Request) -> dict[str, str]:
    """200 when the database answers and is migrated, 503 otherwise."""
    try:
        await services_of(request).database.ask("rollups_are_views", {})
    except DatabaseUnavailableError as error:
        raise UnavailableError("The database does not answer.") from error
    return {"status": "ready"}


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    return Response(generate_latest(services_of(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)
