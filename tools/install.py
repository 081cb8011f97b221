"""Install packages with pip, and show how far it is: what is fetched, how much, and how many packages there are.

    python tools/install.py ENVIRONMENT/bin/python -c constraints.txt -e '.[dev]'

It needs nothing but Python itself, because it runs before anything is installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

IN_MB = {"kB": 0.001, "MB": 1.0, "GB": 1000.0}
PAUSE_S = 10.0
"""Where the output is a file, a line comes after so long; a terminal shows every step on one line."""


def main(python: str, *arguments: str) -> int:
    """The exit status of pip. What pip said is printed only where it failed."""
    command = [python, "-m", "pip", "install", "--progress-bar", "off", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        said = follow(pip.stdout or (), shower())
    if pip.returncode:
        print("\n", *said, sep="", file=sys.stderr)
    return pip.returncode


def follow(lines: Iterable[str], show: Callable[[str], None]) -> list[str]:
    """All lines of pip, after each of them was shown in short."""
    said, found, fetched_mb = [], 0, 0.0
    for line in lines:
        said.append(line)
        found += line.startswith("Collecting ")
        size = re.match(r"\s+(?:Downloading|Using cached) (\S+) \(([\d.]+) (kB|MB|GB)\)", line)
        if size:
            fetched_mb += float(size[2]) * IN_MB[size[3]]
            show(f"{found} packages found, {fetched_mb:.0f} MB fetched: {size[1].split('-')[0]}")
        elif line.startswith("Installing collected packages: "):
            show(f"{line.count(',') + 1} packages are being unpacked; this takes a minute or two")
    return said


def shower() -> Callable[[str], None]:
    """What prints a state: over the last one in a terminal, else on a line of its own and not too often."""
    shown_at = [-PAUSE_S]

    def show(state: str) -> None:
        if sys.stdout.isatty():
            print(f"\r  {state[:76]:<76}", end="", flush=True)
        elif time.monotonic() - shown_at[0] >= PAUSE_S or "unpacked" in state:
            shown_at[0] = time.monotonic()
            print(f"  {state}", flush=True)

    return show


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
