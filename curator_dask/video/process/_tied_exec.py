"""Become another program, which dies with its parent and stays within a memory limit.

Called as ``_tied_exec.py PARENT_PID MEMORY_BYTES PROGRAM ARGUMENT…``. This file is run as a script, by path, with
``python -I -S``. It imports nothing of the package, so it starts in 20 ms. The two limits must be set in the child,
after the fork and before the exec. ``preexec_fn`` would run Python code in a copy of a process with threads, whose locks
may be held for ever. A small program in between avoids this.
"""

from __future__ import annotations

import os
import resource
import sys

EXIT_ORPHANED = 125
EXIT_NOT_STARTED = 126
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel (Linux) for SIGKILL when the parent ends. Exit at once if it has ended already."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        sys.exit(EXIT_ORPHANED)


def limit_memory(num_bytes: int) -> None:
    """Limit the address space; 0 changes nothing. A lower hard limit of the system stays in force."""
    if num_bytes == 0 or sys.platform != "linux":
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    cap = num_bytes if hard == resource.RLIM_INFINITY else min(num_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (cap, cap))


def main(arguments: list[str]) -> None:
    parent_pid, memory_bytes, *command = arguments
    die_with_parent(int(parent_pid))
    limit_memory(int(memory_bytes))
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        sys.exit(EXIT_NOT_STARTED)


if __name__ == "__main__":
    main(sys.argv[1:])
