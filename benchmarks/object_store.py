"""What a run costs on an object store: requests of each stage by kind, and the time beside a local disk.

Run: ``python -m benchmarks.object_store``. The store is a real server of S3's language (moto) on this machine, which waits
before each answer as a network would. Each stage runs twice: the second run finds all done. The numbers of requests do not
depend on what else the machine does; the times do.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curator_dask.video.samples import render_samples

KINDS = ("LIST", "HEAD", "GET", "PUT", "POST", "DELETE")
KEYS = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"}
STAGES = ("split", "embed", "kmeans", "pairwise", "identify", "export")


class Slow:
    """Stands before the server: notes each request, and lets it wait."""

    def __init__(self, server: Callable[..., Iterable[bytes]], log: Path, latency_s: float) -> None:
        self._server, self._log, self._latency_s = server, log, latency_s

    def __call__(self, request: dict[str, Any], answer: Callable[..., Any]) -> Iterable[bytes]:
        with self._log.open("a") as log:
            log.write(f"{kind_of(request['REQUEST_METHOD'], request['PATH_INFO'], request['QUERY_STRING'])}\n")
        time.sleep(self._latency_s)
        return self._server(request, answer)


def kind_of(method: str, path: str, query: str) -> str:
    """The kind of a request. A GET of a bucket is a listing."""
    is_bucket = path.strip("/").count("/") == 0
    return "LIST" if method == "GET" and (is_bucket or "list-type" in query) else method


def serve(folder: Path, latency_s: float) -> None:
    """Run the server for ever; its address goes to the file ``url``."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    os.environ["MOTO_PORT"] = "0"
    application = Slow(DomainDispatcherApplication(create_backend_app), folder / "requests", latency_s)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    (folder / "url.part").write_text(f"http://127.0.0.1:{server.server_port}")
    (folder / "url.part").replace(folder / "url")
    server.serve_forever()


@dataclass
class Store:
    """A running server with one bucket."""

    folder: Path
    url: str

    def requests(self) -> collections.Counter[str]:
        """The requests since the last call, by kind."""
        log = self.folder / "requests"
        found = collections.Counter(log.read_text().split()) if log.exists() else collections.Counter[str]()
        log.unlink(missing_ok=True)
        return found

    def fill(self, videos: Path) -> None:
        """Make the bucket, and put the videos into it."""
        import s3fs

        fs = s3fs.S3FileSystem(key="none", secret="none", endpoint_url=self.url)
        fs.mkdir("bucket")
        fs.put(str(videos), "bucket/videos", recursive=True)


def running_store(folder: Path, latency_s: float) -> Iterator[Store]:
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, latency_s), daemon=True)
    process.start()
    while not (folder / "url").exists():
        time.sleep(0.05)
    yield Store(folder, (folder / "url").read_text())
    process.kill()
    process.join()


def command(stage: str, videos: str, out: str) -> list[str]:
    """One stage as a command, with the folders of a run."""
    clusters, scores = f"{out}/kmeans", f"{out}/pairwise"
    folders = {
        "split": ["--video-dir", videos, "--output-path", out],
        "embed": ["--input-path", out, "--output-path", out, "--video-dir", videos],
        "kmeans": [
            "--input-path",
            f"{out}/pdqf_tmk_nobars_embd_parquet",
            "--output-path",
            clusters,
            "--n-clusters",
            "4",
        ],
        "pairwise": ["--input-path", clusters, "--output-path", scores],
        "identify": ["--input-path", scores, "--kmeans-path", clusters, "--output-path", f"{out}/duplicates"],
        "export": ["--input-path", out, "--output-path", f"{out}/dataset", "--duplicates-path", f"{out}/duplicates"],
    }
    return [stage, *folders[stage]]


def run_stage(arguments: list[str], more: list[str]) -> float:
    """Seconds of one command. Raises CalledProcessError where it fails."""
    began = time.perf_counter()
    told = [sys.executable, "-m", "curator_dask", *arguments, *more, "--n-workers", "2", "--quiet"]
    subprocess.run(told, check=True, env={**os.environ, **KEYS}, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        render_samples(folder / "videos", num_scenes=chosen.scenes, length_s=4.0, size=(160, 88))
        for store in running_store(folder, chosen.latency_ms / 1000):
            store.fill(folder / "videos")
            store.requests()
            _print_table(folder, store)


def _print_table(folder: Path, store: Store) -> None:
    print(f"| stage | run | {' | '.join(KINDS)} | local, s | store, s | ratio |\n|---|---|{'---|' * 9}", flush=True)
    shutil.rmtree(folder / "out", ignore_errors=True)
    for stage in STAGES:
        for run in ("first", "second"):
            local_s = run_stage(command(stage, str(folder / "videos"), str(folder / "out")), [])
            options = ["--storage-option", f"endpoint_url={store.url}"]
            store_s = run_stage(command(stage, "s3://bucket/videos", "s3://bucket/out"), options)
            found = store.requests()
            counts = " | ".join(str(found[kind]) for kind in KINDS)
            print(
                f"| {stage} | {run} | {counts} | {local_s:.1f} | {store_s:.1f} | {store_s / local_s:.2f} |", flush=True
            )


if __name__ == "__main__":
    main()
