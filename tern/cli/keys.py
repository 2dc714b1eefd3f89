"""tern keys"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tern.cli import amounts
from tern.cli.limit_options import Concurrency, Interval, Per, Rpm, Spend, Tpm, limits_body
from tern.cli.problems import RefusedError
from tern.cli.session import Session, session_of, table_of

app = typer.Typer(no_args_is_help=True, help="Create, list, rotate and revoke the API keys of a project.")

Project = Annotated[
    str | None, typer.Option("--project", "-p", help="Id or name; needed only if there are several.")
]


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    project: Project = None,
    user: Annotated[str | None, typer.Option(help="Owner: a user's id (default: yourself).")] = None,
    service_account: Annotated[str | None, typer.Option(help="Owner: a service account's id.")] = None,
    expires: Annotated[str | None, typer.Option(help="Lifetime: 12h, 30d ...")] = None,
    model: Annotated[list[str] | None, typer.Option(help="May call only this model; repeatable.")] = None,
    spend: Spend = None,
    per: Per = Interval.MONTH,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
) -> None:
    """A new key. The secret is shown once and cannot be read again."""
    session = session_of(context)
    body: dict[str, Any] = {"name": name, "user_id": user, "service_account_id": service_account}
    body["expires_in_seconds"] = None if expires is None else amounts.seconds(expires)
    body["limits"] = limits_body(spend, per, rpm, tpm, concurrency) or None
    body["model_permissions"] = {"mode": "allow_list", "model_ids": model} if model else None
    given = {field: value for field, value in body.items() if value is not None}
    made = session.gateway.post(f"projects/{session.project_id(project)}/api_keys", given)
    _show_secret(session, made, f"Created key {made['id']}.")


@app.command("list")
def show(context: typer.Context, project: Project = None) -> None:
    """The keys of a project."""
    session = session_of(context)
    found = list(session.gateway.items(f"projects/{session.project_id(project)}/api_keys"))
    rows = [
        (
            key["id"],
            key["name"],
            key["redacted_value"],
            _owner(key["owner"]),
            amounts.moment(key["expires_at"]),
            amounts.moment(key["last_used_at"]),
        )
        for key in found
    ]
    session.show(found, table_of(["id", "name", "key", "owner", "expires", "last used"], rows))


@app.command()
def rotate(
    context: typer.Context,
    key_id: str,
    grace: Annotated[str, typer.Option(help="How long the old secret stays valid: 0s, 1h, 7d ...")] = "0s",
    project: Project = None,
) -> None:
    """A new secret for a key; limits and id stay."""
    session = session_of(context)
    body = {"grace_period_seconds": amounts.seconds(grace)}
    made = session.gateway.post(f"{key_path(session, key_id, project)}/rotate", body)
    until = amounts.moment(made["previous_value_expires_at"])
    _show_secret(session, made, f"Rotated key {key_id}; the old secret is valid until {until} UTC.")


@app.command()
def revoke(context: typer.Context, key_id: str, project: Project = None) -> None:
    """Kill a key; every router refuses it within a second."""
    session = session_of(context)
    gone = session.gateway.delete(key_path(session, key_id, project))
    session.say(f"Revoked key {key_id}.", gone)


def key_path(session: Session, key_id: str, project: str | None) -> str:
    """Where the key is; without a project, it is looked for in all of them."""
    if project is not None:
        return f"projects/{session.project_id(project)}/api_keys/{key_id}"
    for candidate in session.gateway.items("projects"):
        path = f"projects/{candidate['id']}/api_keys"
        if any(key["id"] == key_id for key in session.gateway.items(path)):
            return f"{path}/{key_id}"
    raise RefusedError(f"No project has a key '{key_id}'. `tern keys list` shows them.")


def _show_secret(session: Session, made: dict[str, Any], sentence: str) -> None:
    session.say(f"{sentence} Keep the secret now, it is not shown again:\n\n{made['value']}\n", made)


def _owner(owner: dict[str, Any]) -> str:
    if owner["type"] == "user":
        return str(owner["user"]["email"])
    return f"{owner['service_account']['name']} (service account)"
