"""Tell what the machine did to ffmpeg from what the file did: a signal, a full disk or too little memory say nothing of a video.

ffmpeg ends with the lowest byte of its negative error number, so "no space left" (28) becomes 228. A shell that starts it
adds 128 to the number of a signal.
"""

from __future__ import annotations

import errno
import os
import signal

from curator_dask.errors import MediaError
from curator_dask.files.local_disk.refusals import UNWRITABLE
from curator_dask.video.process.sandbox import Finished

KILLED, NO_SPACE, NO_MEMORY = "killed", "no-space", "out-of-memory"
"""Reasons of failures that are the machine's."""
EXIT_TOO_MANY_ERRORS, EXIT_INVALID_DATA = 69, 183
"""ffmpeg's codes for a file with too many broken frames, and for bytes that make no sense (AVERROR_INVALIDDATA)."""
REASON_OF_EXIT = {EXIT_TOO_MANY_ERRORS: "damaged", EXIT_INVALID_DATA: "invalid-data"}
"""What such a code says of a file, once `raise_if_machine_failed` has found no other cause."""
EXIT_STOPPED = 255
"""ffmpeg was asked to stop (SIGTERM, SIGINT), or may not do what it must."""
_SIGNALS_THROUGH_A_SHELL = {
    128 + number
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
}
_NO_SPACE_WORDS = tuple(os.strerror(code) for code in sorted(UNWRITABLE))
_NO_MEMORY_WORDS = (os.strerror(errno.ENOMEM), "MemoryError", "std::bad_alloc")


def raise_if_machine_failed(finished: Finished, name: str) -> None:
    """Raise MediaError ``killed``, ``no-space`` or ``out-of-memory`` where the machine ended the work on the file `name`."""
    code, words = finished.returncode, finished.stderr_tail
    if code == 0:
        return
    full = next((text for text in _NO_SPACE_WORDS if text in words), None)
    if full is None and 256 - code in UNWRITABLE:
        full = os.strerror(256 - code)
    if full is not None:
        raise MediaError(NO_SPACE, f"{name}: nothing can be written ({full}): make room and run again")
    if 256 - code == errno.ENOMEM or any(text in words for text in _NO_MEMORY_WORDS):
        raise MediaError(NO_MEMORY, f"{name}: there was too little memory to read it")
    if code < 0 or code in _SIGNALS_THROUGH_A_SHELL or code == EXIT_STOPPED:
        raise MediaError(KILLED, f"{name}: the process that read it was stopped by {_signal_name(code)}")


def _signal_name(code: int) -> str:
    number = -code if code < 0 else code - 128
    try:
        return f"the signal {signal.Signals(number).name}"
    except ValueError:
        return f"a signal (code {code})"
