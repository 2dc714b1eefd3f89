"""tern chat"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from tern.cli.problems import Problem, RefusedError, WrongUseError
from tern.cli.session import Session, session_of


def chat(
    context: typer.Context,
    prompt: Annotated[str | None, typer.Argument(help="The question; without one you can talk.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Default: the first your key may call.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="How the model should behave.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="0 is the same answer every time.")] = None,
) -> None:
    """Ask a model; the answer streams. A prompt may also come through a pipe."""
    session = session_of(context)
    settings = {"model": model or _first_model(session), "max_tokens": max_tokens, "temperature": temperature}
    messages = [{"role": "system", "content": system}] if system else []
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
        if not prompt:
            raise WrongUseError("There is nothing to ask: give a prompt.")
    if prompt is not None:
        _ask(session, settings, messages, prompt)
        return
    _talk(session, settings, messages)


def _first_model(session: Session) -> str:
    models = session.gateway.models()
    if not models:
        raise RefusedError("Your key may call no model. `tern doctor` says why.")
    return str(models[0]["id"])


def _talk(session: Session, settings: dict[str, Any], messages: list[dict[str, str]]) -> None:
    """Turn after turn, until an empty line, Ctrl-C or Ctrl-D."""
    session.console.print(f"[dim]{settings['model']}; an empty line ends.[/]", highlight=False)
    while True:
        try:
            prompt = session.console.input("[bold]you[/] ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if not prompt:
            return
        try:
            _ask(session, settings, messages, prompt)
        except Problem as problem:
            messages.pop()
            session.console.print(problem.message, style="red", highlight=False, markup=False)


def _ask(session: Session, settings: dict[str, Any], messages: list[dict[str, str]], prompt: str) -> None:
    """Stream one answer to stdout and remember it in `messages`; what it took goes to stderr."""
    messages.append({"role": "user", "content": prompt})
    body: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    body |= {"messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    answer, used = "", None
    for chunk in session.gateway.chat(body):
        used = chunk.get("usage") or used
        for choice in chunk.get("choices", []):
            text = choice["delta"].get("content") or ""
            answer += text
            sys.stdout.write(text)
            sys.stdout.flush()
    sys.stdout.write("\n")
    messages.append({"role": "assistant", "content": answer})
    if used and sys.stderr.isatty():
        sys.stderr.write(f"[{used['prompt_tokens']} tokens in, {used['completion_tokens']} out]\n")
