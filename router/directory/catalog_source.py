"""The catalog that this replica routes and charges by."""

from __future__ import annotations

from contracts.catalog import Catalog
from router.directory.org_client import OrgClient


class OrgCatalogSource:
    """Empty until the first `refresh`; while org_service is away the last snapshot stays in force."""

    def __init__(self, org: OrgClient) -> None:
        self._org = org
        self._catalog = Catalog()
        self.is_loaded = False

    def snapshot(self) -> Catalog:
        return self._catalog

    async def refresh(self) -> None:
        """Fetch the catalog; raises OrgUnavailableError. An equal one changes nothing, not even its identity."""
        catalog = await self._org.catalog()
        self.is_loaded = True
        if catalog != self._catalog:
            self._catalog = catalog
