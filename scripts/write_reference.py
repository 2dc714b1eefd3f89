"""Writes docs/configuration.md, docs/errors.md, docs/metrics.md and docs/events.md from the code itself.

`--check` writes nothing and fails when a page is out of date; the suite runs it.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

import analytics.metrics
import org_service.metrics
import router.metrics
from contracts.catalog import Operation
from contracts.grant import OwnerKind
from contracts.pricing import Tokens
from contracts.usage_event import UsageEvent, UsageSource, encode
from router.duties.follow import FollowMetrics
from router.duties.metrics import LedgerMetrics
from router.duties.report_use import ReportUseMetrics

ROOT = Path(__file__).parents[1]
SERVICES = ("router", "org_service", "analytics")
WRITTEN = "<!-- Written by scripts/write_reference.py; do not edit by hand. -->\n"


def main() -> int:
    pages = {
        "configuration": configuration(),
        "errors": errors(),
        "metrics": metrics(),
        "events": events(),
    }
    stale = []
    for name, text in pages.items():
        path = ROOT / "docs" / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            stale.append(path)
            if "--check" not in sys.argv:
                path.write_text(text)
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"out of date, run scripts/write_reference.py: {', '.join(p.name for p in stale)}\n")
        return 1
    return 0


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(" ".join(cell.split()) for cell in line) + " |" for line in lines) + "\n"


def configuration() -> str:
    parts = [
        "# Configuration\n",
        WRITTEN,
        "Each service reads its settings once from the environment. An unknown name under its prefix is refused,",
        "so that a typing error is an error. `python -m router --check-config` (the others alike) validates and",
        "prints them without secrets. A setting without a default must be given.\n",
    ]
    for service in SERVICES:
        settings: type[BaseSettings] = importlib.import_module(f"{service}.settings").Settings
        prefix = settings.model_config["env_prefix"]
        rows = [
            (f"`{prefix}{name.upper()}`", default_of(field.default), field.description or "")
            for name, field in settings.model_fields.items()
        ]
        parts += [f"## {service}\n", table(("Name", "Default", "Meaning"), rows)]
    return "\n".join(parts)


def default_of(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return ""
    return "secret" if isinstance(default, SecretStr) else f"`{default}`"


def errors() -> str:
    parts = [
        "# Errors\n",
        WRITTEN,
        'Every error is `{"error": {"message", "type", "param", "code"}}`, the shape of OpenAI\'s API.',
        "The trees below are those of the code: one class is one meaning.\n",
    ]
    for service in SERVICES:
        module = importlib.import_module(f"{service}.errors")
        rows = sorted(rendered(module), key=lambda row: (row[0], row[3]))
        parts += [f"## {service}\n", "```", inspect.cleandoc(module.__doc__ or ""), "```\n"]
        parts += [table(("HTTP", "type", "code", "class"), rows)]
    return "\n".join(parts)


def rendered(module: Any) -> Iterator[tuple[str, str, str, str]]:
    kinds: list[tuple[str, Any]] = inspect.getmembers(module, inspect.isclass)
    for name, kind in kinds:
        if kind.__module__ == module.__name__ and issubclass(kind, Exception) and hasattr(kind, "status"):
            of_type = getattr(kind, "kind", None) or getattr(kind, "type", "")
            yield str(kind.status), f"`{of_type}`", f"`{kind.code}`" if kind.code else "", f"`{name}`"


def metrics() -> str:
    registries = {
        "router": router_registry(),
        "org_service": org_service.metrics.Metrics().registry,
        "analytics": analytics_registry(),
    }
    parts = ["# Metrics\n", WRITTEN, "`GET /metrics` on every service, in the Prometheus text format.\n"]
    for service, registry in registries.items():
        rows = sorted((f"`{metric.name}`", metric.type, metric.documentation) for metric in registry.collect())
        parts += [f"## {service}\n", table(("Name", "Type", "Meaning"), rows)]
    return "\n".join(parts)


def analytics_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    analytics.metrics.WorkerMetrics(registry)
    analytics.metrics.ApiMetrics(registry)
    return registry


def router_registry() -> CollectorRegistry:
    registry = router.metrics.Metrics(lambda: 0).registry
    FollowMetrics(registry, lambda: 0.0)
    LedgerMetrics.register(registry)
    ReportUseMetrics(registry)
    return registry


def events() -> str:
    example = UsageEvent(
        event_id="0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b",
        occurred_at=datetime(2026, 11, 20, 12, 0, 0, 250_000, tzinfo=UTC),
        organization_id="org_1",
        project_id="proj_1",
        key_id="key_1",
        owner_kind=OwnerKind.USER,
        owner_id="user_1",
        operation=Operation.CHAT,
        model_id="tern-demo",
        upstream_id="local-1",
        usage_source=UsageSource.REPORTED,
        tokens=Tokens(input=10, output=43),
        cost_nano_usd=18_200,
        price_version="price_1",
    )
    return "\n".join(
        (
            "# Usage events\n",
            WRITTEN,
            inspect.cleandoc(inspect.getmodule(UsageEvent).__doc__ or "") + "\n",
            "```json",
            json.dumps(json.loads(encode(example)), indent=2),
            "```\n",
            inspect.cleandoc(UsageEvent.__doc__ or "") + "\n",
            table(("Field", "Type", "Default"), fields(UsageEvent)),
        )
    )


def fields(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        shown = annotation.__name__ if inspect.isclass(annotation) else str(annotation).replace("typing.", "")
        yield f"`{name}`", f"`{shown}`".replace("|", "or"), default_of(field.default)


if __name__ == "__main__":
    raise SystemExit(main())
