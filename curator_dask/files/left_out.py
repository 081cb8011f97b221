"""Files that a listing leaves out: why, and how many of each ending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from curator_dask.files.entries.entry import HIDDEN, LINK_OUT
from curator_dask.files.names import printable

NO_VIDEO = "no-video"
EXCLUDED = "excluded"
BEYOND_LIMIT = "beyond-limit"
OUTPUT = "output"
NO_SPANS = "no-spans"

SENTENCES = {
    NO_VIDEO: "are no videos by their endings",
    HIDDEN: "have a hidden name",
    LINK_OUT: "are links that lead out of the folder (--follow-links takes them)",
    EXCLUDED: "are not chosen by --include and --exclude",
    BEYOND_LIMIT: "are beyond --video-limit",
    NO_SPANS: "have no row in the table of --spans",
}
"""What is said of the files that were left out for a reason."""
SENTENCES_OF_ONE = {
    NO_VIDEO: "is no video by its ending",
    HIDDEN: "has a hidden name",
    LINK_OUT: "is a link that leads out of the folder (--follow-links takes it)",
    EXCLUDED: "is not chosen by --include and --exclude",
    BEYOND_LIMIT: "is beyond --video-limit",
    NO_SPANS: "has no row in the table of --spans",
}
OUTPUT_SENTENCE = "the output folder lies in the folder of the videos; its files are left out and not counted"

MOST_ENDINGS = 20
"""So many endings are counted by themselves; a folder can hold a different ending per file."""
ENDINGS_SHOWN = 5
FOLDER, NO_ENDING, OTHERS = "folder", "no ending", "others"

LeftOut = Mapping[str, Mapping[str, int]]
"""Reason → ending → number of files. For `OUTPUT` there are no numbers, as they would grow while a run goes on."""


def count_endings(paths: Iterable[str]) -> dict[str, int]:
    """Ending → number of files, the most frequent first. A path that ends with a slash is a folder's, and counts as one."""
    counts = Counter(map(_ending, paths))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    others = sum(number for _, number in ordered[MOST_ENDINGS:])
    return {**dict(ordered[:MOST_ENDINGS]), **({OTHERS: others} if others else {})}


def num_left_out(left_out: LeftOut) -> int:
    """The number of files that were left out, for all reasons."""
    return sum(sum(by_ending.values()) for by_ending in left_out.values())


def describe_left_out(left_out: LeftOut) -> list[str]:
    """One line per reason: ``8 are no videos by their endings: .txt 5, .jpg 3``."""
    lines = [_describe(reason, left_out[reason]) for reason in SENTENCES if reason in left_out]
    return [*lines, OUTPUT_SENTENCE] if OUTPUT in left_out else lines


def _describe(reason: str, by_ending: Mapping[str, int]) -> str:
    number = sum(by_ending.values())
    sentence = (SENTENCES_OF_ONE if number == 1 else SENTENCES)[reason]
    return f"{number:,} {sentence}: {_describe_endings(by_ending)}"


def _describe_endings(by_ending: Mapping[str, int]) -> str:
    ordered = sorted(by_ending.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{ending} {number:,}" for ending, number in ordered[:ENDINGS_SHOWN]]
    return ", ".join([*shown, "…"] if len(ordered) > ENDINGS_SHOWN else shown)


def _ending(path: str) -> str:
    if path.endswith("/"):
        return FOLDER
    return printable(PurePosixPath(path).suffix.lower()) or NO_ENDING
