"""What the endpoints work with, given by the app."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from starlette.requests import Request

from analytics.admin_directory import AdminDirectory
from analytics.db import Database
from analytics.metrics import ApiMetrics
from analytics.pages import PageSigner
from analytics.queries import Queries


@dataclass(frozen=True, slots=True)
class Services:
    database: Database
    queries: Queries
    directory: AdminDirectory
    pages: PageSigner
    metrics: ApiMetrics
    service_token: str
    now: Callable[[], datetime]


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)
