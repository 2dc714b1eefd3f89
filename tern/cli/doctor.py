"""tern doctor: one check after the other, each with what is wrong and how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.markup import escape

from contracts.api_key import KeyKind, MalformedKeyError, parse
from tern.cli.gateway import Gateway
from tern.cli.problems import KeyRefusedError, NotConfiguredError, Problem, UnreachableError
from tern.cli.session import session_of


@dataclass(frozen=True, slots=True)
class Finding:
    """`mend` is None where all is well."""

    what: str
    mend: str | None = None


Check = Callable[[Gateway], Iterator[Finding]]


def doctor(
    context: typer.Context,
    call: Annotated[bool, typer.Option(help="Also make one real call of one token.")] = True,
) -> None:
    """Look for what is wrong and say how to mend it. Exit code 1 if anything is."""
    session = session_of(context)
    findings = list(_examine(session.gateway, call))
    if session.as_json:
        session.say_json([{"what": found.what, "mend": found.mend} for found in findings])
    else:
        for found in findings:
            mark = "[green]ok[/]  " if found.mend is None else "[red]bad[/] "
            session.console.print(f"{mark} {escape(found.what)}", highlight=False, soft_wrap=True)
            if found.mend is not None:
                session.console.print(f"     [bold]mend:[/] {escape(found.mend)}", highlight=False, soft_wrap=True)
    if any(found.mend is not None for found in findings):
        raise typer.Exit(1)


def _examine(gateway: Gateway, call: bool) -> Iterator[Finding]:
    """Where a check fails, those that lean on it are not tried: their words would only confuse."""
    checks: list[Check] = [_settings, _reachable, _project_key, _admin_key, _catalog, _reports]
    for check in (*checks, _call) if call else checks:
        failed = False
        for found in check(gateway):
            failed = failed or found.mend is not None
            yield found
        if failed and check in (_settings, _reachable):
            return


def _settings(gateway: Gateway) -> Iterator[Finding]:
    environment = gateway.environment
    yield Finding(f"settings from {environment.source or 'the environment'}")
    for name, kinds in (
        ("OPENAI_API_KEY", (KeyKind.USER, KeyKind.SERVICE_ACCOUNT)),
        ("OPENAI_ADMIN_KEY", (KeyKind.ADMIN,)),
    ):
        yield _key_shape(name, environment.values.get(name), kinds)
    try:
        url = environment.base_url
    except NotConfiguredError as problem:
        yield Finding("OPENAI_BASE_URL is not set", problem.message)
        return
    if not url.endswith("/v1"):
        yield Finding(f"OPENAI_BASE_URL is {url}", "It must end in /v1.")


def _key_shape(name: str, secret: str | None, kinds: tuple[KeyKind, ...]) -> Finding:
    if not secret:
        return Finding(
            f"{name} is not set", "Run `tern up` once, or set it; `tern keys create` makes a project key."
        )
    try:
        kind = parse(secret)
    except MalformedKeyError as error:
        return Finding(f"{name} is no key of Tern's: {error}", "Copy it again, whole; a typing error breaks it.")
    if kind not in kinds:
        return Finding(
            f"{name} holds a key of another kind ({kind})", f"It needs one that begins with {kinds[0]}_."
        )
    return Finding(f"{name} is well formed")


def _reachable(gateway: Gateway) -> Iterator[Finding]:
    try:
        reply = gateway.probe("/ready")
    except UnreachableError as problem:
        mend = "Start Tern with `tern up`; if it runs elsewhere, set OPENAI_BASE_URL."
        yield Finding(problem.message.partition(". `tern")[0], mend)
        return
    if reply.status_code == 200:
        yield Finding("the gateway answers and is ready")
    elif reply.status_code == 503:
        because = ", ".join(reply.json().get("because", []))
        yield Finding(f"the gateway is not ready: {because}", "Wait a moment; .tern/log says what is missing.")
    else:
        mend = f"Something else than Tern listens there (GET /ready answered {reply.status_code})."
        yield Finding("the address is not Tern's", mend)


def _project_key(gateway: Gateway) -> Iterator[Finding]:
    try:
        models = gateway.models()
    except KeyRefusedError as problem:
        yield Finding(
            f"the project key is refused: {problem.message}", "Make another with `tern keys create NAME`."
        )
        return
    except Problem as problem:
        yield Finding(f"models cannot be listed: {problem.message}", "See .tern/log/gateway.log.")
        return
    if models:
        yield Finding(f"the project key may call {', '.join(model['id'] for model in models)}")
    else:
        mend = "Give a model a price (`tern models price`), or check the permissions of project and key."
        yield Finding("the project key may call no model", mend)


def _admin_key(gateway: Gateway) -> Iterator[Finding]:
    try:
        projects = list(gateway.items("projects"))
    except KeyRefusedError as problem:
        mend = "Delete .tern/env and start `tern up` again: it makes new keys."
        yield Finding(f"the admin key is refused: {problem.message}", mend)
    except Problem as problem:
        yield Finding(f"the org service does not answer: {problem.message}", "See .tern/log/gateway.log.")
    else:
        yield Finding(f"the admin key works: {len(projects)} project(s)")


def _catalog(gateway: Gateway) -> Iterator[Finding]:
    try:
        models = [model["id"] for model in gateway.items("models")]
        priced = {price["model"] for price in gateway.items("prices")}
        served = {upstream["model"] for upstream in gateway.items("upstreams")}
    except Problem:
        return  # said already, or not this organization's business
    for model in models:
        if model not in priced:
            mend = f"`tern models price {model} --input 0 --output 0` makes it free; calls are refused until then."
            yield Finding(f"{model} has no price", mend)
        if model not in served:
            yield Finding(f"no server serves {model}", "Start `tern up --backend URL`, or add an upstream.")


def _reports(gateway: Gateway) -> Iterator[Finding]:
    try:
        gateway.get("usage/completions", start_time=0, limit=1)
    except KeyRefusedError:
        return  # said already
    except Problem as problem:
        yield Finding(f"usage cannot be read: {problem.message}", "See .tern/log/gateway.log.")
    else:
        yield Finding("usage can be read")


def _call(gateway: Gateway) -> Iterator[Finding]:
    try:
        model = gateway.models()[0]["id"]
        message = {"role": "user", "content": "Hi."}
        for _ in gateway.chat({"model": model, "messages": [message], "max_tokens": 1, "stream": True}):
            pass
    except IndexError:
        return  # said already
    except KeyRefusedError:
        return  # said already
    except Problem as problem:
        mend = "The message names the limit or the server; `tern limits show` and .tern/log say more."
        yield Finding(f"a call fails: {problem.message}", mend)
    else:
        yield Finding(f"a call to {model} works")
