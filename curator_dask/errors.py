"""The errors of curator_dask: one tree, so that ``except CuratorError`` catches every error that this package raises on purpose.

::

    CuratorError
    ├── ParameterError   a parameter has an invalid value (also a ValueError), or a name that does not exist
    ├── InputError       the input data is missing, empty or not what it should be
    │   ├── MediaError   one video or clip cannot be read, cut or encoded
    │   └── ModelError   a model's files are missing, incomplete or do not fit
    ├── FolderInUseError the output folder holds results of other parameters
    ├── OpenFailureError some work failed because of the machine: run again
    ├── DeviceError      a GPU was asked for and there is none, or it ran out of memory
    ├── ToolError        an external program (ffmpeg) is missing or unusable
    └── ClusterError     the Dask cluster is not there, has no workers, or lost them

A message says what is wrong, which value it was, and what to do. ``exit_code`` is what the command line ends with.
"""

from __future__ import annotations

import re

_SECRET_IN_URL = re.compile(
    r"(?:(?<=://)|(?<=['\"]))([^/@\s:'\"]*):[^/@\s]+(?=@)"
    r"|(?<=[?&])([\w-]*(?:signature|token|credential|secret|passw|key|sig)[\w-]*)=[^&\s'\"]+",
    re.IGNORECASE,
)


class CuratorError(Exception):
    """The root of the tree. Passwords and signatures of URLs are left out of its messages."""

    exit_code = 1

    def __str__(self) -> str:
        return without_secrets(super().__str__())


def without_secrets(text: str) -> str:
    """The text with stars for the passwords and signatures of URLs in it.

    >>> without_secrets("tcp://me:pw@host:9 and https://host/a.mp4?X-Amz-Signature=1f&part=2")
    'tcp://me:***@host:9 and https://host/a.mp4?X-Amz-Signature=***&part=2'
    """
    return _SECRET_IN_URL.sub(lambda found: f"{found[1]}:***" if found[2] is None else f"{found[2]}=***", text)


class ParameterError(CuratorError, ValueError):
    """A parameter has an invalid value."""

    exit_code = 2


class UnknownParameterError(ParameterError, TypeError):
    """There is no parameter of this name (also a TypeError, which Python itself raises for it)."""


class InputError(CuratorError):
    """The input data is missing, empty or not what it should be."""

    exit_code = 2


class MediaError(InputError):
    """One video or clip cannot be read, cut or encoded.

    ``reason`` is a short stable code for grouping failures (``"no-video-stream"``), the message is for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[MediaError], tuple[str, str]]:
        # Exceptions travel between processes; the default reduction would call __init__ with the message alone.
        return type(self), (self.reason, str(self))


class ModelError(InputError):
    """A model's files are missing, incomplete or do not fit."""


class FolderInUseError(CuratorError):
    """The output folder holds results of other parameters."""

    exit_code = 4


class FolderLockedError(FolderInUseError):
    """Another run works in the output folder now."""


class OpenFailureError(CuratorError):
    """Some work failed for reasons that say nothing of the data (a full disk, a lost worker): run again to go on."""

    exit_code = 3


class DeviceError(CuratorError):
    """A GPU was asked for and there is none, or it ran out of memory."""

    exit_code = 5


class ToolError(CuratorError):
    """An external program (ffmpeg) is missing or unusable."""

    exit_code = 6


class ClusterError(CuratorError):
    """The Dask cluster is not there, has no workers, or lost them."""

    exit_code = 7
