"""python -m org_service serve | migrate [pre|post] | --check-config"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence

import uvicorn

from contracts.environment import ConfigurationError, shown
from contracts.log_line import log_to
from org_service.app import create_app
from org_service.migrate import Phase, migrate
from org_service.settings import Settings, load


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m org_service", description="Tern's control plane")
    parser.add_argument("--check-config", action="store_true", help="validate the configuration, show it and stop")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="answer requests (the default)")
    migration = commands.add_parser("migrate", help="bring the database's tables up to date")
    migration.add_argument("phase", nargs="?", type=Phase, choices=list(Phase), default=Phase.ALL)
    arguments = parser.parse_args(argv)
    try:
        settings = load(environ)
    except ConfigurationError as error:
        sys.stderr.write(f"org_service: {error}\n")
        return 2
    if arguments.check_config:
        sys.stdout.write(shown(settings) + "\n")
        return 0
    log_to(sys.stderr, "org_service", settings.log_level)
    if arguments.command == "migrate":
        asyncio.run(migrate(settings.database_url.get_secret_value(), arguments.phase))
        return 0
    return _serve(settings)


def _serve(settings: Settings) -> int:
    config = uvicorn.Config(
        create_app(settings),
        host=settings.listen_host,
        port=settings.listen_port,
        log_config=None,
        access_log=False,
        http="h11",  # bounds the head of a request, as httptools does not
        server_header=False,
    )
    uvicorn.Server(config).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
