"""Logs of all services have one form: one JSON object per line, its fields given by name."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.log_line import LineFormatter, say
from router.log import JsonLog


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(stream: io.StringIO) -> Iterator[logging.Logger]:
    """A service's logger in a process called `tern`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter("tern"))
    log = logging.getLogger("org_service.of_the_tests")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield log
    log.removeHandler(handler)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_way_to_log_writes_the_same_form(stream: io.StringIO, logger: logging.Logger) -> None:
    say(logger, logging.INFO, "request", request_id="req_1", status=200)
    JsonLog(stream).info("request", request_id="req_1", status=200)
    through_library, direct = lines(stream)
    assert list(through_library) == ["at", "level", "service", "event", "request_id", "status"]
    assert through_library | {"at": "", "service": ""} == direct | {"at": "", "service": ""}
    assert (through_library["service"], direct["service"]) == ("org_service", "router")


def test_an_exception_is_told_in_one_line(stream: io.StringIO, logger: logging.Logger) -> None:
    try:
        raise ValueError("why")
    except ValueError as error:
        say(logger, logging.ERROR, "request_failed", raised=error, request_id="req_1")
    (line,) = lines(stream)
    assert (line["event"], line["request_id"]) == ("request_failed", "req_1")
    assert "ValueError: why" in line["trace"]


def test_what_a_library_logs_speaks_for_its_process() -> None:
    record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 1, "port %d", (80,), None)
    line = json.loads(LineFormatter("analytics").format(record))
    assert {name: line[name] for name in ("service", "event", "logger", "message")} == {
        "service": "analytics",
        "event": "library",
        "logger": "uvicorn.error",
        "message": "port 80",
    }


@pytest.mark.parametrize(
    ("level", "written"), [("debug", ["info", "error"]), ("info", ["info", "error"]), ("warning", ["error"])]
)
def test_the_router_writes_nothing_below_its_level(stream: io.StringIO, level: str, written: list[str]) -> None:
    log = JsonLog(stream, level)
    log.info("call")
    log.error("bug")
    assert [line["level"] for line in lines(stream)] == written
