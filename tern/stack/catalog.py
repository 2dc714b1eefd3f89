"""The catalog of the local stack: one model per name that the backends serve, at an explicit price."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from contracts.catalog import Catalog, Model, Price, Upstream
from tern.stack.backends import DEMO_MODEL, Backend

LONG_AGO: Final = datetime(2026, 1, 1, tzinfo=UTC)
DEMO_PRICE: Final = Price(
    version="demo",
    effective_from=LONG_AGO,
    input_nano_usd_per_million=100_000_000,
    output_nano_usd_per_million=400_000_000,
)
"""0.10 and 0.40 USD per million tokens, so that the demo's usage report shows money."""
FREE: Final = Price(
    version="free", effective_from=LONG_AGO, input_nano_usd_per_million=0, output_nano_usd_per_million=0
)
"""What the user's own servers cost until `tern models price` says otherwise."""


def catalog_of(backends: Sequence[Backend]) -> Catalog:
    """Backends that serve a model of the same name are replicas of it."""
    models = {backend.model_name: _model(backend) for backend in backends}
    upstreams = tuple(_upstream(index, backend) for index, backend in enumerate(backends, start=1))
    return Catalog(models=tuple(models.values()), upstreams=upstreams)


def _model(backend: Backend) -> Model:
    return Model(
        id=backend.model_name,
        context_window_tokens=backend.context_window_tokens,
        max_output_tokens=backend.context_window_tokens,
        created_at=LONG_AGO,
        prices=(DEMO_PRICE if backend.model_name == DEMO_MODEL else FREE,),
    )


def _upstream(index: int, backend: Backend) -> Upstream:
    return Upstream(
        id=f"local-{index}",
        model_id=backend.model_name,
        base_url=backend.base_url,
        model_name=backend.model_name,
        capabilities=backend.capabilities,
    )
