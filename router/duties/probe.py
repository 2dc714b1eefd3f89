"""Asks every upstream whether it is alive, so that an ejected one comes back and a dead one gets no call."""

from __future__ import annotations

import asyncio
import json

from contracts.catalog import Upstream
from router.log import JsonLog
from router.snapshot import Snapshots
from router.upstreams.upstreams import UpstreamFault, Upstreams


class Probe:
    def __init__(self, snapshots: Snapshots, upstreams: Upstreams, every_seconds: float, log: JsonLog) -> None:
        self._snapshots = snapshots
        self._upstreams = upstreams
        self._every_seconds = every_seconds
        self._log = log

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._every_seconds)
            await self.probe_all()

    async def probe_all(self) -> None:
        catalog = self._snapshots.latest().catalog
        await asyncio.gather(*(self._probe(upstream) for upstream in catalog.upstreams))

    async def _probe(self, upstream: Upstream) -> None:
        """Any answer below 500 is life: a server without /health says 404."""
        state = self._upstreams.state(upstream)
        was_healthy, root = state.healthy, upstream.base_url.rstrip("/").removesuffix("/v1")
        try:
            status, _ = await self._upstreams.get(f"{root}/health", self._every_seconds)
        except UpstreamFault:
            status = 599
        if status < 500:
            self._upstreams.succeeded(upstream)
            await self._read_load(upstream, root)
        else:
            self._upstreams.failed(upstream)
        if state.healthy is not was_healthy:
            self._log.warning("upstream", upstream=upstream.id, healthy=state.healthy)

    async def _read_load(self, upstream: Upstream, root: str) -> None:
        """vLLM's /load counts the calls of all routers; a server that has none is judged by our own."""
        state = self._upstreams.state(upstream)
        try:
            status, body = await self._upstreams.get(f"{root}/load", self._every_seconds)
            load = json.loads(body).get("server_load") if status == 200 else None
        except (UpstreamFault, ValueError, AttributeError):
            load = None
        if isinstance(load, int) and load >= 0:
            state.reported_load, state.load_then = load, state.in_flight
        else:
            state.reported_load = state.load_then = 0
