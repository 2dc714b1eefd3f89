"""A query string -> a Question. Lists may be written with brackets (`models[]=a`, as the SDK does) or without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from analytics.buckets import Limits, Span, Width
from analytics.errors import InvalidParameterError

LATEST_SECONDS: Final = 4_102_444_800
"""2100-01-01: nothing later is a time that somebody meant, milliseconds for instance."""
SCALARS: Final = ("start_time", "end_time", "bucket_width", "limit", "page", "batch")


class Group(StrEnum):
    PROJECT = "project_id"
    USER = "user_id"
    API_KEY = "api_key_id"
    MODEL = "model"
    LINE_ITEM = "line_item"
    BATCH = "batch"
    SERVICE_TIER = "service_tier"
    API_SOURCE = "api_source"


@dataclass(frozen=True, slots=True)
class Report:
    """What one address can be asked."""

    name: str
    groups: tuple[Group, ...]
    filters: tuple[str, ...]
    limits: Mapping[Width, Limits]
    batch: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    span: Span
    limit: int
    groups: frozenset[Group]
    filters: Mapping[str, list[str] | None]
    batch: bool | None
    page: str | None
    asked_from: int
    asked_until: int | None

    def by(self, group: Group) -> bool:
        return group in self.groups

    def identity(self) -> dict[str, Any]:
        """What a page token is bound to: all that decides the numbers, however it was written."""
        return {
            "start_time": self.asked_from,
            "end_time": self.asked_until,
            "width": self.span.width,
            "groups": sorted(self.groups),
            "filters": {name: sorted(values or []) for name, values in self.filters.items()},
            "batch": self.batch,
        }


def parse(pairs: Iterable[tuple[str, str]], report: Report, now_seconds: int) -> Question:
    """Raises InvalidParameterError, which names the parameter."""
    given = _collected(pairs, report)
    width = _width(given, report)
    start = _seconds(given, "start_time")
    if start is None:
        raise InvalidParameterError("start_time is required", "start_time", "missing_required_parameter")
    end = _seconds(given, "end_time")
    if end is not None and end <= start:
        raise InvalidParameterError("end_time must be after start_time", "end_time")
    return Question(
        span=Span.covering(start, max(now_seconds, start + 1) if end is None else end, width),
        limit=_limit(given, report.limits[width]),
        groups=frozenset(_group(text, report) for text in given.get("group_by", [])),
        filters={name: given.get(name) for name in report.filters},
        batch=_batch(given),
        page=next(iter(given.get("page", [])), None),
        asked_from=start,
        asked_until=end,
    )


def _collected(pairs: Iterable[tuple[str, str]], report: Report) -> dict[str, list[str]]:
    scalars = SCALARS if report.batch else tuple(name for name in SCALARS if name != "batch")
    given: dict[str, list[str]] = {}
    for written, value in pairs:
        name = written.removesuffix("[]")
        is_list = name == "group_by" or name in report.filters
        if not is_list and written not in scalars:
            raise InvalidParameterError(f"Unknown parameter: '{written}'.", written, "unknown_parameter")
        if "\x00" in value:
            raise InvalidParameterError(f"{name} contains a NUL character", name)
        given.setdefault(name, []).append(value)
        if not is_list and len(given[name]) > 1:
            raise InvalidParameterError(f"{name} is given more than once", name)
    return given


def _integer(given: Mapping[str, list[str]], name: str) -> int | None:
    if name not in given:
        return None
    text = given[name][0]
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise InvalidParameterError(f"{name} must be a non-negative integer", name, "invalid_type")
    return int(text)


def _seconds(given: Mapping[str, list[str]], name: str) -> int | None:
    seconds = _integer(given, name)
    if seconds is not None and seconds > LATEST_SECONDS:
        raise InvalidParameterError(f"{name} must be Unix seconds", name)
    return seconds


def _width(given: Mapping[str, list[str]], report: Report) -> Width:
    text = given.get("bucket_width", [Width.DAY])[0]
    if text not in list(report.limits):
        allowed = ", ".join(report.limits)
        raise InvalidParameterError(f"bucket_width must be one of: {allowed}", "bucket_width")
    return Width(text)


def _limit(given: Mapping[str, list[str]], limits: Limits) -> int:
    limit = _integer(given, "limit")
    if limit is None:
        return limits.default
    if not 1 <= limit <= limits.most:
        raise InvalidParameterError(f"limit must be between 1 and {limits.most} for this bucket_width", "limit")
    return limit


def _group(text: str, report: Report) -> Group:
    if text not in list(report.groups):
        raise InvalidParameterError(f"group_by must be of: {', '.join(report.groups)}", "group_by")
    return Group(text)


def _batch(given: Mapping[str, list[str]]) -> bool | None:
    match given.get("batch"):
        case None:
            return None
        case ["true" | "True" | "1"]:
            return True
        case ["false" | "False" | "0"]:
            return False
    raise InvalidParameterError("batch must be true or false", "batch", "invalid_type")


def documented(report: Report) -> list[dict[str, Any]]:
    """The parameters of `report` as OpenAPI describes them."""
    seconds = {"type": "integer", "minimum": 0}
    scalars: dict[str, dict[str, Any]] = {
        "start_time": seconds,
        "end_time": seconds,
        "bucket_width": {"type": "string", "enum": list(report.limits), "default": Width.DAY},
        "limit": {"type": "integer", "minimum": 1},
        "page": {"type": "string"},
    }
    if report.batch:
        scalars["batch"] = {"type": "boolean"}
    texts = {"type": "array", "items": {"type": "string"}}
    lists: dict[str, dict[str, Any]] = {f"{name}[]": texts for name in report.filters}
    lists["group_by[]"] = {"type": "array", "items": {"type": "string", "enum": list(report.groups)}}
    return [
        {"name": name, "in": "query", "required": name == "start_time", "schema": schema}
        for name, schema in (scalars | lists).items()
    ]
