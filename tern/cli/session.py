"""What every command works with: the gateway, the terminal, and whether a program is reading."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tern.cli.environment import read_environment
from tern.cli.gateway import Gateway
from tern.cli.problems import RefusedError, WrongUseError

PIPE_WIDTH: Final = 250
"""Columns where no terminal says how many there are: an id in a pipe must stay whole."""


@dataclass(frozen=True, slots=True)
class Session:
    gateway: Gateway
    console: Console
    as_json: bool

    def show(self, data: Any, table: Table) -> None:
        """The data for a program, the table for a person."""
        if self.as_json:
            self.say_json(data)
        else:
            self.console.print(table)

    def say(self, text: str, data: Any) -> None:
        """One plain sentence for a person, the data for a program."""
        if self.as_json:
            self.say_json(data)
        else:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def say_json(self, data: Any) -> None:
        self.console.print_json(json.dumps(data))

    def project_id(self, named: str | None) -> str:
        """The project with this id or name; without one, the only project there is."""
        projects = list(self.gateway.items("projects"))
        if named is not None:
            found = [project for project in projects if named in (project["id"], project["name"])]
        else:
            found = projects
        if len(found) == 1:
            project_id: str = found[0]["id"]
            return project_id
        if named is not None and not found:
            raise RefusedError(f"There is no active project '{named}'. `tern projects` lists them.")
        names = ", ".join(f"{project['name']} ({project['id']})" for project in found) or "none"
        raise WrongUseError(f"Say which project with --project. There are: {names}.")


def open_session(context: typer.Context, as_json: bool) -> Session:
    """Reads the environment of the process once; the gateway is closed with the command."""
    gateway = Gateway(read_environment(os.environ, Path.cwd()))
    context.call_on_close(gateway.close)
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Session(gateway, Console(width=width), as_json)


def session_of(context: typer.Context) -> Session:
    session = context.find_object(Session)
    assert session is not None, "the root command makes it"
    return session


def table_of(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """A table of plain texts; columns whose name ends in `>` are numbers and stand right."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.endswith(">") else "left"
        table.add_column(column.removesuffix(">"), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table
