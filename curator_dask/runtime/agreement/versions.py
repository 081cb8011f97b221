"""The same versions on all machines: of this package, without which nothing works, and of what the bytes depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from curator_dask._version import __version__
from curator_dask.errors import ClusterError

DECIDING = ("numpy", "torch", "pyarrow", "decord", "av", "imageio-ffmpeg")
"""Packages whose version may change the bytes that a worker writes."""

Versions = tuple[tuple[str, str], ...]


def check_versions(ask: Callable[[Callable[[], Any]], set[Any]], say: Callable[[str], None]) -> None:
    """Refuse workers that lack this package or have another version of it: every unit would fail there, with no clear reason.

    Args:
        ask: gives the different answers of all workers to a function.
        say: hears of other packages whose versions differ, as two such workers may write different bytes.

    Raises ClusterError, and what `ask` raises.
    """
    try:
        own = ask(package_version)
    except (ImportError, AttributeError) as error:
        raise ClusterError(
            f"the workers cannot import curator_dask ({error}): install version {__version__} where they run"
        ) from error
    if own - {__version__}:
        raise ClusterError(
            f"the workers have curator_dask {', '.join(sorted(own))} and this process {__version__}: "
            "install the same version on all"
        )
    if differences := different_versions(ask(deciding_versions)):
        say(f"the machines have different versions, so their workers may write different bytes: {differences}")


def refuse_other_version(wanted: str) -> None:
    """On a worker that may have come later: raise ClusterError where the run's version is not its own."""
    if wanted != __version__:
        raise ClusterError(
            f"a worker came with curator_dask {__version__}, and the run has {wanted}: install the same version on all"
        )


def different_versions(workers: Iterable[Versions]) -> str:
    """In words, what differs between this process and some workers: ``numpy 2.3.1, 2.4.6``; "" where nothing does."""
    everywhere = [dict(found) for found in (deciding_versions(), *workers)]
    found = {name: sorted({one.get(name, "missing") for one in everywhere}) for name in DECIDING}
    return "; ".join(f"{name} {', '.join(versions)}" for name, versions in found.items() if len(versions) > 1)


def package_version() -> str:
    """The version of this package, on the machine that is asked."""
    return __version__


def deciding_versions() -> Versions:
    """The versions of the packages that the bytes depend on, on the machine that is asked."""
    return tuple((name, _version(name)) for name in DECIDING)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
