"""The house itself: how files, rooms and functions are cut. A room is a folder of Python files.

`pytest -s tests/test_house.py` prints the numbers. Which rooms may import which is checked by import-linter (`make lint`).
"""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tools.reference_pages import pages

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "curator_dask"
MOST_FILES_PER_ROOM = 12
MOST_ROOMS_IMPORTED = 12
DOORS = ("curator_dask", "curator_dask.__main__")
"""They lead to the house and are in none of its rooms: the list of public names, and the start of the command line."""
FLOOR = ("curator_dask.errors", "curator_dask.keywords", "curator_dask._version")
"""Every room stands on them, so they count as a room of their own below all others."""
MEDIAN_BODY, NINETY_PERCENT_BODY, LONGEST_BODY = 5, 15, 40

Graph = dict[str, set[str]]
"""Which names each name imports."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; a package is named like its folder."""
    return {_module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def imported_modules(node: ast.AST) -> Iterator[str]:
    """Modules of the package that one statement imports; `from a import b` is `a.b` where that is a module, else `a`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules())
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            found = inner if inner in modules() else node.module
            if found in modules():
                yield found


@cache
def imports_between_files() -> Graph:
    """All imports count: at the top, inside functions and under TYPE_CHECKING."""
    return {
        module: {found for node in ast.walk(tree(module)) for found in imported_modules(node)} for module in modules()
    }


def folder(module: str) -> str:
    """The folder of a module, as a dotted name."""
    return ".".join(modules()[module].parent.relative_to(ROOT).parts)


def room(module: str) -> str:
    return "the floor" if module in FLOOR else folder(module)


@cache
def imports_between_rooms() -> Graph:
    arrows: Graph = {room(module): set() for module in modules()}
    for module, imported in imports_between_files().items():
        if module in DOORS:
            continue
        arrows[room(module)] |= {room(other) for other in imported if folder(other) != folder(module)}
    return arrows


def circles(graph: Graph) -> list[list[str]]:
    """Groups of names that import each other, directly or by a detour (strongly connected components).

    >>> circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    [['a', 'b', 'c']]
    """
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {tuple(sorted({name} | {other for other in reach[name] if name in reach[other]})) for name in graph}
    return sorted(list(group) for group in groups if len(group) > 1 or group[0] in reach[group[0]])


def _reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(graph[name])
    return seen


def arrows_inside(group: list[str], graph: Graph) -> list[str]:
    return [f"{name} → {other}" for name in group for other in sorted(graph[name] & set(group))]


Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def body_lengths() -> dict[str, int]:
    """Lines of every function's body, without its docstring."""
    return {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": _body_length(node)
        for module, path in modules().items()
        for node in ast.walk(tree(module))
        if isinstance(node, Function)
    }


def _body_length(function: Function) -> int:
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def files_per_room() -> dict[str, int]:
    rooms = [folder(module) for module in modules()]
    return {name: rooms.count(name) for name in sorted(set(rooms))}


def test_circles_finds_direct_ones_and_detours() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}, "f": set()}
    assert circles(graph) == [["a", "b", "c"], ["e"]]


def test_no_file_imports_itself_by_a_detour() -> None:
    graph = imports_between_files()
    found = circles(graph)
    assert not found, "\n\n".join("\n".join(arrows_inside(group, graph)) for group in found)


def test_no_room_imports_itself_by_a_detour() -> None:
    graph = imports_between_rooms()
    found = circles(graph)
    assert not found, "\n\n".join("\n".join(arrows_inside(group, graph)) for group in found)


def test_no_room_is_crowded() -> None:
    assert not {name: count for name, count in files_per_room().items() if count > MOST_FILES_PER_ROOM}


def test_no_room_imports_from_too_many() -> None:
    crowded = {name: sorted(others) for name, others in imports_between_rooms().items()}
    assert not {name: others for name, others in crowded.items() if len(others) > MOST_ROOMS_IMPORTED}


def test_architecture_lists_the_rooms() -> None:
    shown = re.search(r"```text\n(.*?)```", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    assert rooms_in(shown[1]) == set(files_per_room())


def rooms_in(drawn: str) -> set[str]:
    """The rooms in a drawn tree, as dotted names; four columns are one level."""
    above: list[str] = []
    found = set()
    for line in drawn.splitlines():
        name = re.match(r"([│├└─ ]*)([a-z0-9_]+)/", line)
        assert name is not None, line
        above = [*above[: len(name[1]) // 4], name[2]]
        found.add(".".join(above))
    return found


def test_functions_are_short() -> None:
    lengths = sorted(body_lengths().values())
    assert statistics.median(lengths) <= MEDIAN_BODY
    assert lengths[int(0.9 * len(lengths))] <= NINETY_PERCENT_BODY
    assert not {name: lines for name, lines in body_lengths().items() if lines > LONGEST_BODY}


@pytest.mark.parametrize("module", modules())
def test_file_has_a_docstring_and_no_assert(module: str) -> None:
    """`python -O` leaves assert out, so that the package raises errors instead."""
    content = tree(module)
    assert ast.get_docstring(content) or not content.body, f"{module} has no docstring"
    assert not [node.lineno for node in ast.walk(content) if isinstance(node, ast.Assert)], f"assert in {module}"


def test_print_the_numbers() -> None:
    files, rooms = imports_between_files(), imports_between_rooms()
    lengths = sorted(body_lengths().values())
    assert sum(files_per_room().values()) == len(files), "a file is in no room, or in two"
    print(f"\n{'room':<36}{'files':>6}{'imports from':>14}")
    for name, count in files_per_room().items():
        print(f"{name:<36}{count:>6}{len(rooms[name]):>14}")
    print(f"{len(files_per_room())} rooms, {len(files)} files")
    print(f"arrows: {sum(map(len, rooms.values()))} between rooms, {sum(map(len, files.values()))} between files")
    print(f"circles: {len(circles(files))} of files, {len(circles(rooms))} of rooms")
    print(
        f"{len(lengths)} functions; lines of a body: median {statistics.median(lengths):g}, "
        f"90 % up to {lengths[int(0.9 * len(lengths))]}, longest {lengths[-1]}"
    )


@pytest.mark.parametrize("name", ["commands.md", "api.md"])
def test_pages_made_from_the_code_are_up_to_date(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == pages()[name], f"docs/{name} is old: run `python -m tools.reference_pages`"
