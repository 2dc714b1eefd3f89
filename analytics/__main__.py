"""python -m analytics migrate | serve | worker | --check-config"""

from __future__ import annotations

import argparse
import asyncio
import sys

import uvicorn

from analytics.app import create_app
from analytics.migrate import migrate
from analytics.settings import load
from analytics.worker_process import work
from contracts.environment import ConfigurationError, shown
from contracts.log_line import log_to


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m analytics", description="Usage: recorded and reported.")
    parser.add_argument("command", nargs="?", choices=["migrate", "serve", "worker"])
    parser.add_argument("--check-config", action="store_true", help="validate the settings and show them")
    given = parser.parse_args(arguments)
    try:
        settings = load()
    except ConfigurationError as error:
        sys.stderr.write(f"analytics: {error}\n")
        return 2
    if given.check_config:
        sys.stdout.write(shown(settings) + "\n")
        return 0
    log_to(sys.stderr, "analytics", settings.log_level)
    match given.command:
        case "migrate":
            migrate(settings.database_url.get_secret_value())
        case "serve":
            uvicorn.run(
                create_app(settings),
                host=settings.listen_host,
                port=settings.listen_port,
                log_config=None,
                access_log=False,
                http="h11",  # bounds the head of a request, as httptools does not
            )
        case "worker":
            asyncio.run(work(settings))
        case _:
            parser.error("say what to do: migrate, serve or worker")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
