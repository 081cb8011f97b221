"""Who holds a folder: what a lock says about the run that took it."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

from curator_dask.errors import FolderLockedError
from curator_dask.files.names import printable


@dataclass(frozen=True)
class Holder:
    """One run, as others see it."""

    user: str
    host: str
    pid: int
    since: str
    """Local time of its start, with the time zone."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Tells this run from all others."""

    @classmethod
    def myself(cls) -> Holder:
        return cls(_user(), socket.gethostname(), os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S %Z"))

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Holder | None:
        """The holder that a lock names; None where the lock is being written or is damaged."""
        try:
            value: Any = json.loads(data)
            return cls(**value)
        except (ValueError, TypeError):
            return None


def refuse(where: str, holder: Holder | None) -> FolderLockedError:
    """The error for a folder that another run holds."""
    by = "another run"
    if holder is not None:
        by = f"process {holder.pid} of {printable(holder.user)} on {printable(holder.host)}, since {holder.since}"
    return FolderLockedError(f"{where} is in use: {by}. Wait until that run has ended, or use another output folder")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a number without a name, as in many containers
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
