"""Print which call to the GPU machine comes next.

    python -m benchmarks.gpu.calls [RESULTS …] [--all] [--fresh]

For a machine without a network, to which each call carries at most 64 MiB and which forgets everything when it is given
back, after half a minute without a call. So print the calls beforehand with --all, and give one right after the other.
RESULTS are the folders with the results of the calls so far (``results.jsonl``): they tell which parts ran, and which
archives the machine holds that answered last. `prepare.sh` makes the archives. The first calls tell most.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.steps import PART_S, PARTS
from benchmarks.gpu.unpack import PARTS as LIST_OF_PARTS
from benchmarks.gpu.unpack import ROOT, sums_of

CARRY = ROOT / ".gpu"
MOST_BYTES = 60 << 20
"""The repository itself travels too, with a few MiB."""
SPARE_S = 60
MOST_PARTS = 3
"""A call takes ten minutes at most."""
WITHOUT_ARCHIVES = ("kernels", "models")
AFTER_SITE = ("embed",)
AFTER_RAPIDS = (("rapids", "files"), ("rapids-tests", "workflow"), ("large-512", "large-1536"))
"""One call each, what has a goal first: the time on a device may end before the last one."""


@dataclass(frozen=True)
class Call:
    """What goes along, and the parts that run."""

    pieces: tuple[str, ...]
    parts: tuple[str, ...]

    def in_words(self) -> str:
        carried = ", ".join(
            [f".gpu/{piece}" for piece in self.pieces] + ([f".gpu/{LIST_OF_PARTS}"] if self.pieces else [])
        )
        limit_s = PART_S * max(1, len(self.parts)) + SPARE_S
        command = f"benchmarks/gpu/run.sh {' '.join(self.parts) or 'none'}"
        return f"carry:   {carried or 'nothing'}\ncommand: {command}\nlimit:   {limit_s} s at most"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="*", help="folders of results, in the order of the calls")
    parser.add_argument("--all", action="store_true", help="print all calls that are left")
    parser.add_argument("--fresh", action="store_true", help="the machine was given back since, and has nothing")
    options = parser.parse_args()
    pieces = {name: (CARRY / name).stat().st_size for name in sums_of(CARRY / LIST_OF_PARTS)} if CARRY.exists() else {}
    lines = lines_of(options.results)
    left = calls(pieces, done_parts(lines), frozenset() if options.fresh else held_pieces(lines))
    if not left:
        print("All parts have run. Save the results:\n  python -m benchmarks.gpu.save --commit RESULTS …")
    for number, call in enumerate(left if options.all else left[:1], 1):
        print(f"call {number} of {len(left)}\n{call.in_words()}\n")


def calls(pieces: dict[str, int], done: frozenset[str], held: frozenset[str]) -> list[Call]:
    """The calls that are left.

    >>> [(call.pieces, call.parts) for call in calls({"site/part.0": 9}, frozenset(["kernels"]), frozenset())]
    [(('site/part.0',), ('models', 'embed'))]

    Args:
        pieces: the parts of archives, and their sizes in bytes.
        done: the parts of the benchmarks that ran.
        held: the parts of archives that the machine has.
    """
    loads = list(_loads({name: size for name, size in pieces.items() if name not in held}))
    archives = {name.partition("/")[0] for name in pieces}
    first = [part for part in WITHOUT_ARCHIVES if part not in done]
    planned = [Call(load, ()) for load in loads] or [Call((), ())]
    planned[0] = Call(planned[0].pieces, tuple(first))
    if "site" in archives:
        at = _last_of("site", planned)
        planned[at] = Call(planned[at].pieces, planned[at].parts + _left(AFTER_SITE, done))
    if "rapids" in archives:
        first, *others = (_left(parts, done) for parts in AFTER_RAPIDS)
        at = _last_of("rapids", planned)
        planned[at] = Call(planned[at].pieces, planned[at].parts + first)
        planned += [Call((), parts) for parts in others]
    wanted = any(call.parts for call in planned)
    return [short for call in planned if wanted and (call.pieces or call.parts) for short in _short_calls(call)]


def _short_calls(call: Call) -> Iterator[Call]:
    """The call, and further ones for the parts for which it has no time."""
    yield Call(call.pieces, call.parts[:MOST_PARTS])
    for at in range(MOST_PARTS, len(call.parts), MOST_PARTS):
        yield Call((), call.parts[at : at + MOST_PARTS])


def _loads(pieces: dict[str, int]) -> Iterator[tuple[str, ...]]:
    """The pieces of each call: those of site first, and small ones where they fit."""
    waiting = sorted(pieces, key=lambda name: (not name.startswith("site/"), name))
    while waiting:
        load: list[str] = []
        for name in waiting:
            if not load or sum(pieces[one] for one in [*load, name]) <= MOST_BYTES:
                load.append(name)
        waiting = [name for name in waiting if name not in load]
        yield tuple(load)


def _last_of(archive: str, planned: Sequence[Call]) -> int:
    """The call after which the archive is whole; the first one if nothing of it is left to bring."""
    numbers = [at for at, call in enumerate(planned) if any(name.startswith(f"{archive}/") for name in call.pieces)]
    return max(numbers, default=0)


def _left(parts: Iterable[str], done: frozenset[str]) -> tuple[str, ...]:
    return tuple(part for part in parts if part not in done)


def lines_of(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """All lines of the results."""
    return [json.loads(line) for folder in folders for line in (folder / "results.jsonl").read_text().splitlines()]


def done_parts(lines: Iterable[dict[str, Any]]) -> frozenset[str]:
    """Parts of which every step ran, whatever came of it; steps that were left out did not run."""
    ran = {(line["part"], line["step"]) for line in lines if line["kind"] == "step" and line["status"] != "left out"}
    return frozenset(part for part, steps in PARTS.items() if all((part, step.name) in ran for step in steps))


def held_pieces(lines: Iterable[dict[str, Any]]) -> frozenset[str]:
    """The parts of archives that lie on the machine that answered last."""
    machines = [line for line in lines if line["kind"] == "machine"]
    return frozenset(machines[-1].get("pieces", ())) if machines else frozenset()


if __name__ == "__main__":
    main()
