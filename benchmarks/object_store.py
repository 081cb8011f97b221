"""What a run costs on an object store: requests of each stage by kind, and the time beside a local disk.

Run: ``python -m benchmarks.object_store``. The store is a real server of S3's language (moto) on this machine, which waits
before each answer as a network would, and sends and takes each file at the pace of one connection. Each stage runs twice: the
second run finds all done. Then one large file goes to the store and back, in parts and as one request. The numbers of requests
do not depend on what else the machine does; the times do.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import psutil

from curator_dask.data.tables import parquet_bytes, read_parquet
from curator_dask.files.folder import Folder
from curator_dask.files.object_store import ranged_file, transfers
from curator_dask.stages.embed.clip_vectors import vector_table
from curator_dask.video.samples import render_samples

KINDS = ("LIST", "HEAD", "GET", "PUT", "POST", "DELETE")
KEYS = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"}
BLOCK_BYTES = 1 << 20
STAGES = ("split", "embed", "kmeans", "pairwise", "identify", "export")


@dataclass(frozen=True)
class Network:
    """What lies between a client and a store."""

    latency_s: float
    bytes_per_s: float
    """The pace of one connection; several at a time do not slow each other down."""

    def carry(self, body: Iterable[bytes]) -> Iterator[bytes]:
        """The blocks of an answer, one after the other."""
        for whole in body:
            for at in range(0, len(whole), BLOCK_BYTES):
                block = whole[at : at + BLOCK_BYTES]
                time.sleep(len(block) / self.bytes_per_s)
                yield block


class Slow:
    """Stands before the server: notes each request, and lets it wait."""

    def __init__(self, server: Callable[..., Iterable[bytes]], log: Path, network: Network) -> None:
        self._server, self._log, self._network = server, log, network

    def __call__(self, request: dict[str, Any], answer: Callable[..., Any]) -> Iterable[bytes]:
        with self._log.open("a") as log:
            kind = kind_of(request["REQUEST_METHOD"], request["PATH_INFO"], request["QUERY_STRING"])
            log.write(f"{kind} {request['PATH_INFO']} {request.get('HTTP_RANGE', '')} {listed_in(request)}\n")
        num_sent = int(request.get("CONTENT_LENGTH") or 0)
        time.sleep(self._network.latency_s + num_sent / self._network.bytes_per_s)
        return self._network.carry(self._server(request, answer))


def kind_of(method: str, path: str, query: str) -> str:
    """The kind of a request. A GET of a bucket is a listing."""
    is_bucket = path.strip("/").count("/") == 0
    return "LIST" if method == "GET" and (is_bucket or "list-type" in query) else method


Prepare = Callable[[Callable[..., Iterable[bytes]]], Callable[..., Iterable[bytes]]]


def listed_in(request: dict[str, Any]) -> str:
    """The folder that a listing asks for; "" for other requests."""
    return parse_qs(request["QUERY_STRING"]).get("prefix", [""])[0]


def serve(folder: Path, network: Network, prepare: Prepare | None = None) -> None:
    """Run the server for ever; its address goes to the file ``url``. `prepare` may fill its storage and stand before it."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    os.environ["MOTO_PORT"] = "0"
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = DomainDispatcherApplication(create_backend_app)
    application = Slow(prepare(moto) if prepare else moto, folder / "requests", network)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    (folder / "url.part").write_text(f"http://127.0.0.1:{server.server_port}")
    (folder / "url.part").replace(folder / "url")
    server.serve_forever()


@dataclass
class Store:
    """A running server with one bucket."""

    folder: Path
    url: str
    pid: int

    def cpu_s(self) -> float:
        """Processor seconds of the server so far."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system

    def requests(self) -> collections.Counter[str]:
        """The requests since the last call, by kind."""
        return collections.Counter(line.partition(" ")[0] for line in self.asked())

    def asked(self) -> list[str]:
        """The requests since the last call, in their order: kind, object, range of bytes and folder that is listed."""
        log = self.folder / "requests"
        found = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    def fill(self, videos: Path) -> None:
        """Make the bucket, and put the videos into it."""
        import s3fs

        fs = s3fs.S3FileSystem(key="none", secret="none", endpoint_url=self.url)
        fs.mkdir("bucket")
        fs.put(str(videos), "bucket/videos", recursive=True)


def running_store(folder: Path, network: Network, prepare: Prepare | None = None) -> Iterator[Store]:
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, network, prepare), daemon=True)
    process.start()
    try:
        while not (folder / "url").exists():
            if not process.is_alive():
                raise SystemExit("the server did not start")
            time.sleep(0.05)
        yield Store(folder, (folder / "url").read_text(), process.pid or 0)
    finally:
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
    parser.add_argument("--mb-per-s", type=float, default=20.0, help="the pace of one connection")
    parser.add_argument("--large-mib", type=int, default=64, help="size of the large file; 0: none")
    parser.add_argument("--stages", nargs="*", choices=STAGES, default=STAGES)
    parser.add_argument("--repeated", action="store_true", help="show what is asked for more than once in a stage")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        render_samples(folder / "videos", num_scenes=chosen.scenes, length_s=4.0, size=(160, 88))
        for store in running_store(folder, Network(chosen.latency_ms / 1000, chosen.mb_per_s * 1e6)):
            store.fill(folder / "videos")
            store.requests()
            if chosen.stages:
                _print_table(folder, store, chosen.stages, show_repeated=chosen.repeated)
            if chosen.large_mib:
                _print_large(folder, store, chosen.large_mib << 20)


def _print_large(folder: Path, store: Store, num_bytes: int) -> None:
    """Times of one large file of vectors: on the local disk, in the store, and in the store without parts."""
    options = {"key": "none", "secret": "none", "endpoint_url": store.url}
    local, remote = Folder(str(folder / "large")), Folder("s3://bucket/large", options)
    work = _works(num_bytes)
    columns = ("requests", "local, s", "store, s", "store without parts, s", "ratio to local")
    print(f"\n| {num_bytes >> 20} MiB | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, do in work.items():
        local_s = _seconds(do, local)
        store.requests()
        store_s = _seconds(do, remote)
        requests = ", ".join(f"{count} {kind}" for kind, count in sorted(store.requests().items()))
        with _parts_of(2 * num_bytes):
            alone_s = _seconds(do, remote)
        print(f"| {name} | {requests} | {local_s:.2f} | {store_s:.2f} | {alone_s:.2f} | {store_s / local_s:.1f} |")


def _works(num_bytes: int) -> dict[str, Callable[[Folder], object]]:
    rows = num_bytes // 4096
    vectors = np.random.default_rng(7).random((rows, 1024), np.float32)
    data = parquet_bytes(vector_table([str(row) for row in range(rows)], list(vectors), "id", "embedding"))

    def fetch(place: Folder) -> None:
        with place.local_copy("a.parquet") as copy:
            copy.read_bytes()

    return {
        "written": lambda place: place.write_bytes("a.parquet", data),
        "copied to a local disk": fetch,
        "read as vectors": lambda place: read_parquet(place, "a.parquet", ["embedding"]),
    }


def _seconds(do: Callable[[Folder], object], place: Folder) -> float:
    began = time.perf_counter()
    do(place)
    return time.perf_counter() - began


@contextlib.contextmanager
def _parts_of(num_bytes: int) -> Iterator[None]:
    """For the time of the block, parts are so large."""
    before = {module: module.PART_BYTES for module in (transfers, ranged_file)}
    try:
        for module in before:
            module.PART_BYTES = num_bytes
        yield
    finally:
        for module, part_bytes in before.items():
            module.PART_BYTES = part_bytes


def _print_table(folder: Path, store: Store, stages: Sequence[str], *, show_repeated: bool) -> None:
    print(f"| stage | run | {' | '.join(KINDS)} | local, s | store, s | ratio |\n|---|---|{'---|' * 9}", flush=True)
    shutil.rmtree(folder / "out", ignore_errors=True)
    for stage in stages:
        for run in ("first", "second"):
            local_s = run_stage(command(stage, str(folder / "videos"), str(folder / "out")), [])
            options = ["--storage-option", f"endpoint_url={store.url}"]
            store_s = run_stage(command(stage, "s3://bucket/videos", "s3://bucket/out"), options)
            asked = store.asked()
            found = collections.Counter(line.partition(" ")[0] for line in asked)
            counts = " | ".join(str(found[kind]) for kind in KINDS)
            print(
                f"| {stage} | {run} | {counts} | {local_s:.1f} | {store_s:.1f} | {store_s / local_s:.2f} |", flush=True
            )
            if show_repeated:
                _print_repeated(asked)


def _print_repeated(asked: Sequence[str]) -> None:
    """What was asked for more than once."""
    for line, count in collections.Counter(asked).most_common():
        if count > 1:
            print(f"    {count} {line}")


if __name__ == "__main__":
    main()
