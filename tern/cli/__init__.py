"""The `tern` command. Everything but `up` talks HTTP to a gateway, as any OpenAI client does."""

from __future__ import annotations

from typing import Annotated

import typer

from tern.cli import keys, limits, models, projects
from tern.cli.chat import chat
from tern.cli.doctor import doctor
from tern.cli.problems import ProblemsAreSentences
from tern.cli.session import open_session
from tern.cli.up import up
from tern.cli.usage import usage

__all__ = ["app"]

app = typer.Typer(
    cls=ProblemsAreSentences, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich"
)


@app.callback()
def tern(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")] = False,
) -> None:
    """Tern: an OpenAI-compatible gateway in front of ternary language models.

    Address and keys come from OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_ADMIN_KEY, or from the nearest .tern/env.
    """
    context.obj = open_session(context, as_json)


app.command()(up)
app.add_typer(keys.app, name="keys")
app.add_typer(projects.app, name="projects")
app.add_typer(limits.app, name="limits")
app.add_typer(models.app, name="models")
app.command()(usage)
app.command()(chat)
app.command()(doctor)
