"""The parts of the page that are plain numbers: the totals, the tiles, why clips were removed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from curator_dask.report.page import words

Report = Mapping[str, Any]
STATES: Final = ("kept", "removed", "dropped", "plain", "failed")


def totals_parts(report: Report) -> list[dict[str, str]]:
    """The line of totals in pieces, with commas in large numbers; those that count a state name it.

    >>> totals_parts({"totals": {"line": "3000 clips = 2000 kept"}})
    [{'text': '3,000 clips = ', 'state': ''}, {'text': '2,000 kept', 'state': 'kept'}]
    """
    line = re.sub(r"\d{4,}", lambda found: words.number(int(found[0])), report["totals"]["line"])
    pieces = re.split(rf"([\d,]+ (?:{'|'.join(STATES)}))", line)
    states = {piece: piece.split(" ")[-1] for piece in pieces[1::2]}
    return [{"text": piece, "state": states.get(piece, "")} for piece in pieces if piece]


def shares(report: Report) -> list[dict[str, Any]]:
    """One piece of a bar of length 100 per state that some clips have."""
    totals = report["totals"]
    whole = totals["clips"] or 1
    pieces = []
    start = 0.0
    for state in STATES:
        number = totals.get(state, 0)
        width = 100 * number / whole
        if number:
            share = words.percent(number, whole)
            pieces.append({"state": state, "start": f"{start:.4f}", "width": f"{width:.4f}", "percent": share})
        start += width
    return pieces


def tiles(report: Report) -> list[dict[str, Any]]:
    """The large numbers below the totals."""
    made = [_tile_of_state(report, state) for state in ("kept", "removed")]
    made += [_tile_of_state(report, "dropped")] if report["totals"].get("dropped") else []
    made += [_tile_of_state(report, "plain")] if report["totals"]["plain"] else []
    if report["totals"]["failed"]:
        failed = report["totals"]["failed"]
        made.append(_tile("failed", "Clips failed", failed, words.number(failed), ["see below, by reason"], "failed"))
    if report["totals"].get("open"):
        left = report["totals"]["open"]
        made.append(_tile("open", "Clips open", left, words.number(left), ["run again: the machine failed, not they"]))
    if report["orphans"]:
        lines = ["removed clips that are like no kept clip, only like another removed one"]
        made.append(_tile("orphans", "Orphans", report["orphans"], words.number(report["orphans"]), lines))
    return made


def _tile_of_state(report: Report, state: str) -> dict[str, Any]:
    clips, seconds, num_bytes = (report[key][state] for key in ("totals", "seconds", "bytes"))
    lines = [f"{words.duration(seconds)} of video", words.size(num_bytes)]
    if state == "removed":
        lines[0] += f", {words.percent(seconds, sum(report['seconds'].values()))} of all"
    return _tile(
        state, f"Clips {state}" if state != "plain" else "Plain clips", clips, words.number(clips), lines, state
    )


def _tile(name: str, title: str, value: float, text: str, lines: list[str], state: str = "") -> dict[str, Any]:
    return {"id": f"tile-{name}", "name": title, "value": value, "text": text, "lines": lines, "state": state}


def why(report: Report) -> list[dict[str, Any]]:
    """Three lists of counts: by reason, by kind of copy, and by where the kept clip is from."""
    lists = (("reason", "Reason", words.REASONS), ("kind", "Kind of copy", words.KINDS))
    found = [_counts(report, key, title, names) for key, title, names in lists if report["removed_by"][key]]
    return [*found, _counts(report, "pair", "Where the kept clip is", words.PAIRS)]


def _counts(report: Report, key: str, title: str, names: Mapping[str, str]) -> dict[str, Any]:
    counts = {name: number for name, number in report["removed_by"][key].items() if number or key == "pair"}
    largest = max(counts.values(), default=0) or 1
    lines = [
        {
            "key": name,
            "name": names.get(name, name),
            "text": words.number(number),
            "width": f"{100 * number / largest:.3f}",
        }
        for name, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    return {"id": key, "title": title, "lines": lines}


def dropped(report: Report) -> list[dict[str, Any]]:
    """One line per reason for which filters dropped clips."""
    return [
        {
            "reason": line["reason"],
            "text": words.DROPPED.get(line["reason"], line["reason"]).format(words.short(line["limit"])),
            "number": words.number(line["number"]),
            "videos": words.counted_videos(line["sources"]),
        }
        for line in report.get("dropped", ())
    ]


def rule_text(report: Report) -> str:
    """One sentence on the rule that decided."""
    if report["rule"] == "overlap":
        cover = words.percent(report["min_cover"] or 0, 1)
        return f"A clip was removed if kept clips show the same moments, for at least {cover} of its length."
    limit = words.short(report["eps"])
    compared = "a clip kept before it" if report["rule"] == "greedy" else "a clip that ranks before it"
    if report["removed_by"]["reason"].get("copy"):
        compared += ", or if it is a copy: kept clips show the same moments"
    return f"A clip was removed if it is within {limit} (eps) of {compared}. The smaller eps is, the more alike two must be."


def limit_text(report: Report) -> str:
    """What the charts show, and for which rule they count."""
    if report["rule"] == "overlap":
        return (
            "The moments that clips share decided here, not an eps. The curves show what the other rules, which compare one "
            "vector per clip, would see."
        )
    return "Eps is how far apart two clips may be and still count as duplicates. Read here what another eps would keep."
