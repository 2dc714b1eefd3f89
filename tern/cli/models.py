"""tern models"""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from tern.cli import amounts
from tern.cli.problems import KeyRefusedError, NotConfiguredError
from tern.cli.session import Session, session_of, table_of

app = typer.Typer(help="List models; set their prices and aliases.")


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """Without a subcommand: the list."""
    if context.invoked_subcommand is None:
        show(context)


@app.command("list")
def show(context: typer.Context) -> None:
    """The catalog with prices in USD per million tokens; without an admin key, what your key may call."""
    session = session_of(context)
    try:
        catalog = _catalog(session)
    except (NotConfiguredError, KeyRefusedError):
        callable_models = session.gateway.models()
        rows = [(each["id"], each["owned_by"]) for each in callable_models]
        session.show(callable_models, table_of(["model", "owned by"], rows))
        return
    columns = ["model", "aliases", "context>", "input>", "output>", "servers>"]
    session.show(catalog, table_of(columns, [_row(each) for each in catalog]))


@app.command()
def price(
    context: typer.Context,
    model: str,
    given: Annotated[str, typer.Option("--input", help="USD per million input tokens.")],
    made: Annotated[str, typer.Option("--output", help="USD per million output tokens.")],
    cached: Annotated[str | None, typer.Option("--cached-input", help="... of cached input tokens.")] = None,
) -> None:
    """A new price, in force from now on. Free is an explicit 0."""
    session = session_of(context)
    body: dict[str, Any] = {
        "model": model,
        "input_nano_usd_per_million": amounts.rate(given),
        "output_nano_usd_per_million": amounts.rate(made),
    }
    if cached is not None:
        body["cached_input_nano_usd_per_million"] = amounts.rate(cached)
    answer = session.gateway.post("prices", body)
    session.say(f"{model}: input ${given}, output ${made} per million tokens, from now on.", answer)


@app.command()
def alias(context: typer.Context, name: str, model: str) -> None:
    """Let NAME stand for MODEL."""
    session = session_of(context)
    answer = session.gateway.post("aliases", {"id": name, "model": model})
    session.say(f"{name} is now {model}.", answer)


def _catalog(session: Session) -> list[dict[str, Any]]:
    """Models with their aliases, the price in force and, for the operator, the number of servers."""
    gateway = session.gateway
    found = list(gateway.items("models"))
    aliases = list(gateway.items("aliases"))
    prices = list(gateway.items("prices"))
    try:
        upstreams: list[dict[str, Any]] | None = list(gateway.items("upstreams"))
    except KeyRefusedError:
        upstreams = None
    return [
        each
        | {
            "aliases": [alias["id"] for alias in aliases if alias["model"] == each["id"]],
            "price": _in_force([price for price in prices if price["model"] == each["id"]]),
            "upstreams": upstreams and [up["id"] for up in upstreams if up["model"] == each["id"]],
        }
        for each in found
    ]


def _in_force(prices: list[dict[str, Any]]) -> dict[str, Any] | None:
    past = [price for price in prices if price["effective_from"] <= time.time()]
    return max(past, key=lambda price: int(price["effective_from"]), default=None)


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    price = each["price"]
    rates = ("no price: refused", "") if price is None else (
        amounts.usd_of_nano(price["input_nano_usd_per_million"]),
        amounts.usd_of_nano(price["output_nano_usd_per_million"]),
    )  # fmt: skip
    servers = "" if each["upstreams"] is None else str(len(each["upstreams"]))
    return (each["id"], ", ".join(each["aliases"]), amounts.count(each["context_window_tokens"]), *rates, servers)
