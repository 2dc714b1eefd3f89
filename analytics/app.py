"""The API, put together. The only file that knows all names.

serve: uvicorn -> RequestLine -> FastAPI -> endpoints -> Queries -> Database
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx2
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from analytics import errors
from analytics.admin_directory import AdminDirectory, CachedAdminDirectory, HttpAdminDirectory
from analytics.db import Database
from analytics.endpoints import health, reports, spend
from analytics.metrics import ApiMetrics
from analytics.middleware import RequestLine
from analytics.pages import PageSigner
from analytics.queries import Queries
from analytics.services import Services
from analytics.settings import Settings
from analytics.telemetry import Telemetry

SERVICE_NAME: Final = "tern-analytics"


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Deps:
    """What a test or an embedding process may replace; None builds the real one."""

    directory: AdminDirectory | None = None
    registry: CollectorRegistry | None = None
    telemetry: Telemetry | None = None
    now: Callable[[], datetime] = _utc_now


def create_app(settings: Settings, deps: Deps | None = None) -> FastAPI:
    """An app whose lifespan opens and closes what it uses."""
    deps = deps or Deps()
    client = httpx2.AsyncClient(
        base_url=settings.org_service_url, timeout=settings.org_service_timeout_seconds, trust_env=False
    )
    telemetry = deps.telemetry or Telemetry.to(settings.traces_endpoint, SERVICE_NAME)
    services = _services(settings, deps, client, telemetry)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await services.database.open()
        try:
            yield
        finally:
            await services.database.close()
            await client.aclose()
            telemetry.close()

    app = FastAPI(
        title="Tern analytics", version="1", lifespan=lifespan, openapi_url=settings.openapi_path,
        docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.services = services
    for module in (reports, spend, health):
        app.include_router(module.router)
    _render_errors(app)
    app.add_middleware(RequestLine, metrics=services.metrics)
    app.add_middleware(telemetry.wrap)
    return app


def _services(settings: Settings, deps: Deps, client: httpx2.AsyncClient, telemetry: Telemetry) -> Services:
    database = Database(
        settings.database_url.get_secret_value(),
        settings.database_pool_size,
        settings.database_timeout_seconds,
        telemetry,
    )
    asked = HttpAdminDirectory(client, settings.org_service_token.get_secret_value())
    token = settings.service_token.get_secret_value()
    return Services(
        database=database,
        queries=Queries(database),
        directory=deps.directory or CachedAdminDirectory(asked, settings.admin_key_cache_seconds),
        pages=PageSigner(token),
        metrics=ApiMetrics(deps.registry or CollectorRegistry()),
        service_token=token,
        now=deps.now,
    )


def _render_errors(app: FastAPI) -> None:
    """Every way a request can fail, in OpenAI's envelope."""
    app.add_exception_handler(errors.ApiError, _api_error)
    app.add_exception_handler(errors.DatabaseUnavailableError, _database_unavailable)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_exception)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ApiError)
    return JSONResponse(error.envelope(), error.status, error.headers)


async def _database_unavailable(request: Request, _: Exception) -> Response:
    return await _api_error(request, errors.UnavailableError("Usage cannot be read right now. Please try again."))


async def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return await _api_error(request, errors.InvalidParameterError(f"{name}: {first['msg']}", name))


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    url = f"{request.method} {request.url.path}"
    if error.status_code == 405:
        failure: errors.ApiError = errors.MethodNotAllowedError(f"Not allowed to {url}.")
    elif error.status_code == 404:
        failure = errors.UnknownUrlError(f"Unknown request URL: {url}.")
    else:
        failure = errors.InternalError(str(error.detail))
        failure.status = error.status_code
    return await _api_error(request, failure)
