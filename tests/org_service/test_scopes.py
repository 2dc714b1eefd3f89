"""A query that forgets the organization is found before a stranger finds it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import org_service

ROOM = Path(org_service.__file__).parent
UNSCOPED = {"catalog", "orgs", "resolve"}
"""The catalog and the list of organizations belong to the deployment; a resolution starts from a secret's hash."""


WITHOUT_A_ROOM = {
    *("authenticate.py", "bootstrap.py", "db.py", "outbox.py", "relay.py"),
    "last_use.py",  # of two rooms at once, each use scoped to the organization that it names
    "paging.py",  # runs the queries that repositories hand it
    "catalog/names.py",
}


def functions_with_queries(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.unparse(node)
            if any(f"{word}(" in text for word in ("select", "update", "delete", "insert")):
                yield node.name, text


def test_every_query_on_a_tenants_table_names_the_organization() -> None:
    seen = 0
    for path in ROOM.glob("*/repository.py"):
        for name, text in functions_with_queries(path) if path.parent.name not in UNSCOPED else ():
            scoped = any(sign in text for sign in ("organization_id", "_on(", "_live("))
            assert scoped, f"{path.parent.name}/repository.py: {name}"
            seen += 1
    assert seen >= 20


def test_queries_live_in_repositories() -> None:
    elsewhere = [
        str(path.relative_to(ROOM))
        for path in ROOM.rglob("*.py")
        if path.name != "repository.py" and "session.execute(" in path.read_text()
    ]
    assert set(elsewhere) <= WITHOUT_A_ROOM
