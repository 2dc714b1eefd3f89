"""What stops a command, each with a sentence for a person and an exit code of its own.

Problem
├── RefusedError        1  the gateway said no (a wrong id, a bad value)
│   └── KeyRefusedError 4  ... because of the key
├── WrongUseError       2  the command line makes no sense
├── NotConfiguredError  3  no address or no key is known
└── UnreachableError    5  nothing answers at the address
"""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup


class Problem(Exception):  # noqa: N818 - a sentence for the user, not a fault of the program
    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RefusedError(Problem):
    exit_code = 1


class KeyRefusedError(RefusedError):
    exit_code = 4


class WrongUseError(Problem):
    exit_code = 2


class NotConfiguredError(Problem):
    exit_code = 3


class UnreachableError(Problem):
    exit_code = 5


class ProblemsAreSentences(TyperGroup):
    """The root command: whatever stops a command is shown here, once, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Problem as problem:
            text = f"Error: {problem.message}"
            Console(stderr=True).print(text, style="red", highlight=False, markup=False, soft_wrap=True)
            raise typer.Exit(problem.exit_code) from None
