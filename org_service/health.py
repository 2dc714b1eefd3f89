"""/health: the process lives. /ready: it can serve. /metrics: Prometheus."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisClusterException, RedisError

from org_service.errors import ApiError
from org_service.transaction import parts_of

router = APIRouter(tags=["Health"])


@router.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """503 while PostgreSQL is away or not migrated. Without Redis changes wait in the outbox, so it is reported
    but does not take the service out of rotation."""
    parts = parts_of(request)
    checks = {"database": "ok", "change_feed": "ok"}
    try:
        await parts.database.ping()
    except ApiError:
        checks["database"] = "unavailable"
    try:
        async with asyncio.timeout(1.0):
            await parts.redis.ping()
    except (RedisError, RedisClusterException, OSError):
        checks["change_feed"] = "unavailable"
    is_ready = checks["database"] == "ok"
    return JSONResponse(
        {"status": "ok" if is_ready else "unavailable", "checks": checks}, 200 if is_ready else 503
    )


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
