"""tern projects"""

from __future__ import annotations

from typing import Annotated

import typer

from tern.cli.amounts import moment
from tern.cli.session import session_of, table_of

app = typer.Typer(help="List, create and archive projects.")


@app.callback(invoke_without_command=True)
def projects(context: typer.Context) -> None:
    """Without a subcommand: the list."""
    if context.invoked_subcommand is None:
        show(context)


@app.command("list")
def show(
    context: typer.Context,
    archived: Annotated[bool, typer.Option("--archived", help="Archived projects too.")] = False,
) -> None:
    """The projects of the organization."""
    session = session_of(context)
    found = list(session.gateway.items("projects", include_archived=archived or None))
    rows = [(each["id"], each["name"], each["status"], moment(each["created_at"])) for each in found]
    session.show(found, table_of(["id", "name", "status", "created"], rows))


@app.command()
def create(context: typer.Context, name: str) -> None:
    """A new project."""
    session = session_of(context)
    made = session.gateway.post("projects", {"name": name})
    session.say(f"Created project {made['id']} ({made['name']}).", made)


@app.command()
def archive(context: typer.Context, project: str) -> None:
    """Close a project: its keys stop working. It cannot be opened again."""
    session = session_of(context)
    closed = session.gateway.post(f"projects/{session.project_id(project)}/archive")
    session.say(f"Archived project {closed['id']}.", closed)
