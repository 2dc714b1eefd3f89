"""The house rules that a machine can check: a page per thought, names that mean something, no stray paths."""

from __future__ import annotations

import ast
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("contracts", "router", "org_service", "analytics", "tern", "kernels", "benchmarks", "tests")
HOT_PATH = ("receive", "authenticate", "admit", "choose", "relay", "settle", "sse")
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_HOT_FUNCTION_LINES, MAX_MEDIAN_LINES = 300, 50, 30, 10
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "core", "misc"}


def sources(*rooms: str) -> list[Path]:
    listed = subprocess.check_output(["git", "ls-files", "--", *rooms], cwd=ROOT, text=True)
    return [ROOT / name for name in listed.splitlines() if name.endswith(".py") and (ROOT / name).exists()]


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function with the number of its lines, docstring not counted."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = node.body[0] if ast.get_docstring(node) else None
            documented = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1 - documented


def test_a_file_is_a_page() -> None:
    long = {
        str(path.relative_to(ROOT)): count for path in sources(*ROOMS) if (count := lines(path)) > MAX_FILE_LINES
    }
    assert not long


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_a_function_is_half_a_page() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{name} {count}"
        for path in sources(*ROOMS)
        for name, count in functions(path)
        if count > (MAX_HOT_FUNCTION_LINES if is_hot(path) else MAX_FUNCTION_LINES)
    ]
    assert not long


def is_hot(path: Path) -> bool:
    return path.is_relative_to(ROOT / "router") and path.stem in HOT_PATH


@pytest.mark.parametrize("room", ["contracts", "router", "org_service", "analytics", "tern"])
def test_the_median_function_is_short(room: str) -> None:
    sizes = [count for path in sources(room) for _, count in functions(path)]
    assert statistics.median(sizes) <= MAX_MEDIAN_LINES


def test_no_file_has_an_empty_name() -> None:
    assert not [path for path in sources(*ROOMS) if path.stem in EMPTY_NAMES]


def test_tests_and_the_kernels_folder_are_no_packages() -> None:
    assert not [path for path in sources("tests") if path.name == "__init__.py"]
    assert not (ROOT / "kernels" / "__init__.py").exists()
    assert not (ROOT / "kernels" / "triton" / "__init__.py").exists()


def test_the_kernels_and_the_services_do_not_know_each_other() -> None:
    """They meet over HTTP only. import-linter looks after the services among themselves, but not after a package
    that lies on a path of its own."""
    services = {"contracts", "router", "org_service", "analytics", "tern"}
    kernels = sources("kernels/triton/ternary_kernels")
    assert kernels
    assert not [path for path in kernels if imported(path) & services]
    assert not [path for path in sources(*services) if "ternary_kernels" in imported(path)]


def imported(path: Path) -> set[str]:
    """The packages that a file imports, by their first names."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in named}


def handlers_of(path: Path, name: str) -> list[ast.ExceptHandler]:
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ExceptHandler)]
    return [handler for handler in found if isinstance(handler.type, ast.Name) and handler.type.id == name]


def test_exceptions_are_caught_wholesale_at_the_edges_only() -> None:
    """The ASGI edge of each service, the consumer loop and the loop of the duties."""
    edges = {"router/middleware.py", "router/app.py", "org_service/edge.py", "org_service/app.py"}
    edges |= {"analytics/middleware.py", "analytics/worker.py"}
    rooms = sources("contracts", "router", "org_service", "analytics")
    found = {str(path.relative_to(ROOT)) for path in rooms if handlers_of(path, "Exception")}
    assert found <= edges


def test_what_cleans_up_after_anything_raises_it_again() -> None:
    rooms = sources("contracts", "router", "org_service", "analytics")
    handlers = [handler for path in rooms for handler in handlers_of(path, "BaseException")]
    assert all(isinstance(handler.body[-1], ast.Raise) for handler in handlers)


def test_the_environment_is_read_in_settings_only() -> None:
    rooms = sources("contracts", "router", "org_service", "analytics")
    assert not [path for path in rooms if "os.environ" in path.read_text() and path.name != "settings.py"]


def test_locks_carry_hashes_and_no_index_address() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text and "--index" not in text, lock
        assert text.count("==") <= text.count("--hash=sha256:"), lock
