"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import compileall
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import curator_dask
from curator_dask.runtime import units
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from tests.left_out import NO_SHARED, left_out_lines

# A busy machine makes an example slow now and then, and no test here judges speed.
settings.register_profile("no-clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no-clock")

SHARED = Path(__file__).resolve().parents[2] / "shared"


# The longest files, longest first: where two processes share the files, both should end at the same time.
LONGEST = (
    "test_readme.py",
    "test_workflow.py",
    "test_notebooks.py",
    "test_cli.py",
    "test_transcode_real.py",
    "test_parts.py",
    "test_frames.py",
    "test_kmeans_stage.py",
    "test_tracks.py",
    "test_parts_real.py",
    "test_calibrate_stage.py",
    "test_units.py",
    "test_faults.py",
    "test_cluster.py",
    "test_filters_across_clusters.py",
    "test_cross_cluster_stage.py",
    "test_page_browser.py",
    "test_verify_output.py",
)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the package where processes may not keep bytecode (PYTHONDONTWRITEBYTECODE): each of hundreds would do it anew."""
    if sys.dont_write_bytecode and not hasattr(session.config, "workerinput"):
        compileall.compile_dir(Path(curator_dask.__file__).parent, quiet=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; the others keep their order."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were left out because this machine lacks what they need."""
    skipped = terminalreporter.stats.get("skipped", [])
    for line in left_out_lines(str(report.longrepr) for report in skipped):
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of golden vectors and test videos beside the checkout; tests that need it are skipped without it."""
    if not (SHARED / "golden").is_dir():
        pytest.skip(f"{NO_SHARED}: golden vectors and test videos are left out")
    return SHARED


@pytest.fixture(scope="session")
def real_videos(shared_dir: Path) -> Path:
    return shared_dir / "videos" / "real"


@pytest.fixture(scope="session")
def bad_videos(shared_dir: Path) -> Path:
    return shared_dir / "videos" / "bad"


@pytest.fixture(scope="session")
def cluster() -> Iterator[LazyCluster]:
    """One local Dask cluster of two worker processes for the whole suite."""
    with LazyCluster(ClusterSettings(device="cpu", n_workers=2, dashboard=False)) as shared:
        yield shared


@pytest.fixture(scope="session")
def one_worker() -> Iterator[RunContext]:
    """A run context on a cluster of a single worker, to compare with what two workers write."""
    with LazyCluster(ClusterSettings(device="cpu", n_workers=1, dashboard=False)) as alone:
        yield RunContext(alone)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units that failed because of the machine are tried again as often as ever, at once."""
    monkeypatch.setattr(units, "TRY_AGAIN_AFTER_S", (0.0,) * len(units.TRY_AGAIN_AFTER_S))


@pytest.fixture
def context(cluster: LazyCluster) -> RunContext:
    """A run context on the suite's cluster, with the default switches."""
    return RunContext(cluster)


@pytest.fixture(scope="session")
def sample_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rendered sample set with its planted twins, 320x180."""
    from tests.small_samples import render_small_samples

    folder = tmp_path_factory.mktemp("samples") / "videos"
    render_small_samples(folder)
    return folder


@pytest.fixture(scope="session")
def few_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short scenes and two twins, 320x180: for tests that need a whole run, but not a large one."""
    from tests.small_samples import render_small_samples

    folder = tmp_path_factory.mktemp("few") / "videos"
    render_small_samples(folder, num_scenes=2, length_s=4.0)
    return folder


@dataclass(frozen=True)
class S3:
    """A bucket on a real server that speaks S3, on this machine."""

    url: str
    """``s3://bucket``; put what a test writes below a prefix of its own."""
    storage_options: dict[str, Any]


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {
        "key": "testing",
        "secret": "testing",
        "client_kwargs": {"endpoint_url": f"http://{host}:{port}"},
    }
    try:
        fsspec.filesystem("s3", **options).mkdir("curator-tests")
        yield S3("s3://curator-tests", options)
    finally:
        server.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that makes a small disk, or changes it, by mount options (``size=100k``, ``ro``); needs root."""
    target = tmp_path / "disk"
    target.mkdir()

    def mounted(options: str) -> Path:
        remount = ["-o", f"remount,{options}"] if target.is_mount() else ["-t", "tmpfs", "-o", options, "tmpfs"]
        if subprocess.run(["mount", *remount, str(target)], capture_output=True, check=False).returncode != 0:
            pytest.skip("a disk of its own takes the right to mount one")
        return target

    try:
        yield mounted
    finally:
        if target.is_mount():
            subprocess.run(["umount", "--lazy", str(target)], check=True)
