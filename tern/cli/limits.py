"""tern limits"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from tern.cli import amounts
from tern.cli.keys import key_path
from tern.cli.limit_options import Concurrency, Interval, Per, Rpm, Spend, Tpm, limits_body
from tern.cli.problems import WrongUseError
from tern.cli.session import Session, session_of, table_of

app = typer.Typer(no_args_is_help=True, help="Show, set and lift limits of organization, project, owner and key.")

Project = Annotated[str | None, typer.Option("--project", "-p", help="A project, by id or name.")]
Key = Annotated[str | None, typer.Option("--key", "-k", help="A key, by id.")]
User = Annotated[str | None, typer.Option(help="A user, by id.")]
Account = Annotated[str | None, typer.Option("--service-account", help="A service account, by id.")]


@app.command()
def show(
    context: typer.Context, project: Project = None, key: Key = None, user: User = None, account: Account = None
) -> None:
    """The limits that stand on a level; without an option, the organization's."""
    session = session_of(context)
    _show(session, session.gateway.get(_path(session, project, key, user, account)))


@app.command("set")
def put(
    context: typer.Context,
    project: Project = None,
    key: Key = None,
    user: User = None,
    account: Account = None,
    spend: Spend = None,
    per: Per = Interval.MONTH,
    rpm: Rpm = None,
    tpm: Tpm = None,
    model: Annotated[str | None, typer.Option(help="--rpm and --tpm count this model only.")] = None,
    concurrency: Concurrency = None,
) -> None:
    """Set what is given; other limits stay."""
    session = session_of(context)
    wanted = limits_body(spend, per, rpm, tpm, concurrency)
    if not wanted:
        raise WrongUseError("Say what to set: --spend, --rpm, --tpm or --concurrency.")
    path = _path(session, project, key, user, account)
    standing = session.gateway.get(path)
    if model is not None:
        for part in wanted.get("rates", []):
            part["model"] = model
    for name, identity in (("spend", "interval"), ("rates", "model")):
        if name in wanted:
            wanted[name] = _merged(standing[name], wanted[name], identity)
    _show(session, session.gateway.post(path, wanted))


@app.command()
def lift(
    context: typer.Context, project: Project = None, key: Key = None, user: User = None, account: Account = None
) -> None:
    """Remove every limit of a level."""
    session = session_of(context)
    nothing: dict[str, Any] = {"spend": [], "rates": [], "max_concurrent_requests": None}
    _show(session, session.gateway.post(_path(session, project, key, user, account), nothing))


def _path(session: Session, project: str | None, key: str | None, user: str | None, account: str | None) -> str:
    if sum(name is not None for name in (key, user, account)) > 1:
        raise WrongUseError("Give one of --key, --user and --service-account.")
    if user is not None:
        return f"users/{user}/limits"
    if key is None and account is None and project is None:
        return "limits"
    if key is not None:
        return f"{key_path(session, key, project)}/limits"
    inside = f"projects/{session.project_id(project)}"
    if account is not None:
        return f"{inside}/service_accounts/{account}/limits"
    return f"{inside}/limits"


def _merged(standing: list[dict[str, Any]], wanted: list[dict[str, Any]], identity: str) -> list[dict[str, Any]]:
    """What stands, with what is wanted on top; two parts with one identity are one limit."""
    parts: dict[Any, dict[str, Any]] = {part.get(identity): part for part in standing}
    for part in wanted:
        parts[part.get(identity)] = parts.get(part.get(identity), {}) | part
    return list(parts.values())


def _show(session: Session, limits: dict[str, Any]) -> None:
    session.show(limits, _table(limits))


def _table(limits: dict[str, Any]) -> Table:
    rows = [
        (
            f"spend per {part['interval']}".replace("per none", "ever"),
            amounts.usd_of_cents(part["threshold_amount"]),
        )
        for part in limits["spend"]
    ]
    for part in limits["rates"]:
        of = f" ({part['model']})" if part.get("model") else ""
        for name, label in (("max_requests_per_1_minute", "requests"), ("max_tokens_per_1_minute", "tokens")):
            if part.get(name) is not None:
                rows.append((f"{label} per minute{of}", amounts.count(part[name])))
    if limits["max_concurrent_requests"] is not None:
        rows.append(("calls at the same time", amounts.count(limits["max_concurrent_requests"])))
    return table_of(["limit", "value>"], rows or [("none", "unlimited")])
