"""tern up"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def up(
    backend: Annotated[
        list[str] | None,
        typer.Option(
            help="Your own OpenAI-compatible server, as http://host:port/v1; repeatable. Default: a demo."
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(envvar="TERN_PORT", min=0, max=65535, help="Where Tern listens on 127.0.0.1.")
    ] = 8080,
    home: Annotated[Path, typer.Option(help="Where its state is kept.")] = Path(".tern"),
) -> None:
    """Start the whole product here and stay until Ctrl-C."""
    from tern.stack.up import Options  # the services are loaded only by the command that needs them
    from tern.stack.up import up as run

    raise typer.Exit(run(Options(home, port, tuple(backend or ())), Console(stderr=False)))
