"""A catalog, indexed once for all calls that see it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from contracts.catalog import Catalog, Model, Price, Upstream
from router.ports import CatalogSource

CLOCK_TOLERANCE: Final = timedelta(hours=1)
"""The ledger's clock picks the price; this router's only decides which prices are worth offering."""


class Snapshot:
    """Lookups by name. Aliases point at canonical ids; an id is never hidden by an alias."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.models: dict[str, Model] = {model.id: model for model in catalog.models}
        self._upstreams: dict[str, list[Upstream]] = {}
        for upstream in catalog.upstreams:
            self._upstreams.setdefault(upstream.model_id, []).append(upstream)
        self._prices = {m.id: tuple(sorted(m.prices, key=lambda p: p.effective_from)) for m in catalog.models}

    def model(self, name: str) -> Model | None:
        return self.models.get(name) or self.models.get(self.catalog.aliases.get(name, ""))

    def upstreams(self, model_id: str) -> list[Upstream]:
        return self._upstreams.get(model_id, [])

    def names(self) -> list[tuple[str, Model]]:
        """Every name a client may use, with its model."""
        aliases = [(alias, self.models[id_]) for alias, id_ in self.catalog.aliases.items() if id_ in self.models]
        return [*self.models.items(), *(pair for pair in aliases if pair[0] not in self.models)]

    def prices(self, model_id: str, now: datetime) -> tuple[Price, ...]:
        """The prices that may be in force at the ledger's clock, oldest first; empty where none is."""
        prices = self._prices[model_id]
        if len(prices) == 1 and prices[0].effective_from <= now:
            return prices
        started = [price for price in prices if price.effective_from <= now + CLOCK_TOLERANCE]
        settled = [price for price in started if price.effective_from <= now - CLOCK_TOLERANCE]
        return tuple(started[max(len(settled) - 1, 0) :])


class Snapshots:
    """Indexes the newest catalog, once."""

    def __init__(self, source: CatalogSource) -> None:
        self._source = source
        self._latest = Snapshot(source.snapshot())

    def latest(self) -> Snapshot:
        catalog = self._source.snapshot()
        if catalog is not self._latest.catalog:
            self._latest = Snapshot(catalog)
        return self._latest
