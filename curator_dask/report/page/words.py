"""Plain words and units for a reader of the page."""

from __future__ import annotations

from typing import Final

KINDS: Final = {
    "identical": "the same pictures",
    "copy": "a copy, encoded or edited anew",
    "shifted": "a copy that is cut elsewhere",
    "mirrored": "a mirrored copy",
    "still": "the same still picture",
}
REASONS: Final = {
    "near-duplicate": "a kept clip shows the same",
    "copy": "a kept clip shows the same moments",
    "in-reference": "another output shows the same",
    "override": "removed by hand",
}
DROPPED: Final = {
    "black": "black: at least {} of the frames",
    "static": "static: still for over {} of the time",
    "low-motion": "little motion: a mean change below {}",
}
QUALITY: Final = {
    "motion_mean": ("How much moves", "The mean change of a pixel from one frame to the next, as a share of white."),
    "frozen_share": (
        "How long clips stand still",
        "The share of the frames in which nothing changes for a second or more.",
    ),
    "black_share": ("How black clips are", "The share of the frames that are black."),
    "luminance": ("How bright clips are", "Mean brightness: 0 is black, 1 is white."),
    "sharpness": ("How sharp clips are", "How sharp edges are at 64x64 pixels, up to 4."),
}
PAIRS: Final = {"same_source": "kept clip in the same video", "cross_source": "kept clip in another video"}
_SIZES: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")


def number(value: int) -> str:
    """
    >>> number(1234567)
    '1,234,567'
    """
    return f"{value:,}"


def counted_videos(value: int) -> str:
    """
    >>> counted_videos(1), counted_videos(1200)
    ('1 video', '1,200 videos')
    """
    return "1 video" if value == 1 else f"{number(value)} videos"


def size(num_bytes: float) -> str:
    """
    >>> size(14_930_000), size(512)
    ('14.9 MB', '512 bytes')
    """
    step = 0
    while num_bytes >= 1000 and step < len(_SIZES) - 1:
        num_bytes, step = num_bytes / 1000, step + 1
    return f"{num_bytes:.{1 if step and num_bytes < 100 else 0}f} {_SIZES[step]}"


def duration(seconds: float) -> str:
    """
    >>> duration(42.4), duration(7_508), duration(8_640_000)
    ('42 s', '2 h 5 min', '2,400 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 6_000 else f"{round(seconds / 3600):,} h"


def span(start_s: float | None, end_s: float | None) -> str:
    """From where to where in its video; empty where that is not known.

    >>> span(0, 2.5), span(None, None)
    ('0–2.5 s', '')
    """
    return "" if start_s is None or end_s is None else f"{round(start_s, 1):g}–{round(end_s, 1):g} s"


def percent(part: float, whole: float) -> str:
    """
    >>> percent(1, 3), percent(1, 1000), percent(0, 0)
    ('33 %', '0.1 %', '0 %')
    """
    share = 100 * part / whole if whole else 0.0
    return f"{share:.1f} %" if 0 < share < 1 or 99 < share < 100 else f"{share:.0f} %"


def short(value: float | None) -> str:
    """A number as people write it; a dash for one that is not known.

    >>> short(0.65), short(2.0), short(None)
    ('0.65', '2', '–')
    """
    return "–" if value is None else f"{value:.4g}"
