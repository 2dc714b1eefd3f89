"""A KeyDirectory and a CatalogSource of things that the test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from contracts.api_key import KeyKind, digest, generate
from contracts.catalog import Capabilities, Catalog, Model, Price, Upstream
from contracts.change import Change, ChangeKind
from contracts.grant import Grant, Level, LevelKind, OwnerKind
from router.directory.memory_key_directory import MemoryKeyDirectory

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
PRICE = Price(
    version="price_1",
    effective_from=LONG_AGO,
    input_nano_usd_per_million=1_000_000_000,
    output_nano_usd_per_million=2_000_000_000,
)


class KeysOfTheTest(MemoryKeyDirectory):
    """The directory's twin, and a tenant for each key that is issued."""

    def __init__(self) -> None:
        super().__init__()
        self.grants: list[Grant] = []

    def issue(self, name: str = "1", **changes: Any) -> str:
        """A new key's secret. `changes` go into its grant; `levels` maps a kind to that level's limits."""
        limits = changes.pop("levels", {})
        ids = {
            LevelKind.ORGANIZATION: f"org_{name}",
            LevelKind.PROJECT: f"proj_{name}",
            LevelKind.USER: f"user_{name}",
            LevelKind.KEY: f"key_{name}",
        }
        levels = [Level(kind=kind, id=id_, **limits.get(kind, {})) for kind, id_ in ids.items()]
        grant = {
            "key_id": ids[LevelKind.KEY],
            "organization_id": ids[LevelKind.ORGANIZATION],
            "project_id": ids[LevelKind.PROJECT],
            "owner_kind": OwnerKind.USER,
            "owner_id": ids[LevelKind.USER],
            "levels": tuple(levels),
        }
        secret = generate(KeyKind.USER)
        self.grants.append(Grant(**{**grant, **changes}))
        self.put(digest(secret), self.grants[-1])
        return secret

    def revoke(self, secret: str) -> None:
        """As the change feed tells it."""
        self.apply(Change(kind=ChangeKind.KEY_REVOKED, key_hash=digest(secret)))


@dataclass
class MemoryCatalog:
    """Every trait name that a test mentions becomes a model on the given servers."""

    base_urls: list[str]
    models: dict[str, Model] = field(default_factory=dict)
    upstreams: list[Upstream] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    _built: Catalog | None = None

    def snapshot(self) -> Catalog:
        if self._built is None:
            self._built = Catalog(
                models=tuple(self.models.values()), aliases=self.aliases, upstreams=tuple(self.upstreams)
            )
        return self._built

    def add(
        self, traits: str, name: str | None = None, capabilities: Capabilities | None = None, **changes: Any
    ) -> str:
        """A model called `name` whose upstreams are asked for `traits`; gives its name."""
        name = name or f"model:{traits}"
        fields = {"id": name, "created_at": LONG_AGO, "prices": (PRICE,), "max_output_tokens": 256}
        self.models[name] = Model(**{**fields, **changes})
        for at, base_url in enumerate(self.base_urls):
            self.upstreams.append(
                Upstream(
                    id=f"{name}@{at}",
                    model_id=name,
                    base_url=base_url,
                    model_name=traits,
                    capabilities=capabilities or Capabilities(continuous_usage=True),
                )
            )
        self._built = None
        return name
