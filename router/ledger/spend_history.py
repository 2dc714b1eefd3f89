"""HttpSpendHistory: what analytics recorded, asked over HTTP; and its twin for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import httpx2
from pydantic import ValidationError

from contracts.spend import SpendReport
from contracts.topology import SPEND_PATH
from router.ports import HistoryUnavailableError


class HttpSpendHistory:
    """`close` it when done."""

    def __init__(
        self,
        base_url: str,
        service_token: str,
        timeout_seconds: float = 3.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx2.AsyncClient(
            base_url=base_url,
            headers={"authorization": f"Bearer {service_token}"},
            timeout=timeout_seconds,
            transport=transport,
            trust_env=False,
        )

    async def spent(self, organization_id: str, at: datetime) -> SpendReport:
        parameters = {"organization_id": organization_id, "at": at.isoformat()}
        try:
            reply = await self._http.get(SPEND_PATH, params=parameters)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise HistoryUnavailableError(f"{type(error).__name__} on {SPEND_PATH}") from error
        if reply.status_code != httpx2.codes.OK:
            raise HistoryUnavailableError(f"status {reply.status_code} on {SPEND_PATH}")
        try:
            return SpendReport.model_validate_json(reply.content)
        except ValidationError as error:
            raise HistoryUnavailableError(f"unreadable answer on {SPEND_PATH}") from error

    async def close(self) -> None:
        await self._http.aclose()


@dataclass(slots=True)
class MemorySpendHistory:
    """Reports are given by organization; one that is not given spent nothing."""

    reports: dict[str, SpendReport] = field(default_factory=dict)
    is_down: bool = False
    asked: int = 0

    async def spent(self, organization_id: str, at: datetime) -> SpendReport:
        self.asked += 1
        if self.is_down:
            raise HistoryUnavailableError("analytics is down")
        return self.reports.get(organization_id, SpendReport(organization_id=organization_id, at=at))
