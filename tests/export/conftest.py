"""A small real export: twelve MP4s of three sources, planned and written as the export stage does it."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from curator_dask.export.card import dataset_card
from curator_dask.export.manifest import Manifest, manifest_text, wids_indexes
from curator_dask.export.plan import PlanParameters
from curator_dask.export.samples import ClipRecord, caption_bytes, embedding_npy, embedding_npy_bytes, json_fields
from curator_dask.export.shards import write_shard
from curator_dask.files.layout import MANIFEST_NAME
from tests.export.planning import plan_shards

CLIPS = 12
SOURCES = 3
DIMENSIONS = 16


def make_record(number: int, **changes: object) -> ClipRecord:
    source = f"/videos/film {number % SOURCES}.mp4"
    record = ClipRecord(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{source}_{number}")),
        source_video=source,
        start_s=10.0 * (number // SOURCES),
        end_s=10.0 * (number // SOURCES) + 10.0,
        num_bytes=1000 + number,
        width=64,
        height=48,
        framerate=10.0,
        num_frames=5,
        video_codec="h264",
        cosine_sim_score=number / 100,
        max_id="",
        cluster=number % 4,
    )
    return replace(record, **changes)


@dataclass(frozen=True)
class Clips:
    """Clip records, and where their MP4 files are."""

    folder: Path
    records: tuple[ClipRecord, ...]

    def open_media(self, record: ClipRecord):
        return (self.folder / f"{record.id}.mp4").open("rb")

    def media(self, clip_id: str) -> bytes:
        return (self.folder / f"{clip_id}.mp4").read_bytes()

    @staticmethod
    def embedding(record: ClipRecord) -> np.ndarray:
        return np.random.default_rng(uuid.UUID(record.id).int).standard_normal(DIMENSIONS).astype(np.float32)

    def export(
        self,
        out: Path,
        parameters: PlanParameters | None = None,
        *,
        with_embeddings: bool = False,
        name: str = "films",
        records: Iterable[ClipRecord] | None = None,
        carried: Mapping[str, str] | None = None,
    ) -> Manifest:
        parameters = parameters or PlanParameters(shard_clips=5)
        sizes = {"npy": lambda _: embedding_npy_bytes(DIMENSIONS)} if with_embeddings else {}
        extras = {"npy": lambda record: embedding_npy(self.embedding(record))} if with_embeddings else {}
        if carried is not None:
            sizes["txt"], extras["txt"] = (lambda record: len(caption_bytes(record))), caption_bytes
        fields = json_fields(carried, with_quality=False) if carried is not None else {}
        results = []
        for plan in plan_shards(self.records if records is None else records, parameters, extra_sizes=sizes):
            (out / plan.split).mkdir(parents=True, exist_ok=True)
            results.append(write_shard(plan, out / plan.path, self.open_media, extras))
        manifest = Manifest(name, ("json", "mp4", *sorted(extras)), asdict(parameters), tuple(results), fields)
        (out / MANIFEST_NAME).write_text(manifest_text(manifest))
        (out / "README.md").write_text(dataset_card(manifest))
        for file_name, text in wids_indexes(manifest).items():
            (out / file_name).write_text(text)
        return manifest


@pytest.fixture(scope="session")
def record() -> Callable[..., ClipRecord]:
    """Make the record of clip ``number``, with the given fields changed."""
    return make_record


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Twelve different MP4s of half a second each."""
    folder = tmp_path_factory.mktemp("clips")
    records = []
    for number in range(CLIPS):
        record = make_record(number)
        path = folder / f"{record.id}.mp4"
        source = f"testsrc=size=64x48:rate=10:duration=0.5,hue=h={30 * number}"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source]
        subprocess.run([*command, "-c:v", "libopenh264", "-pix_fmt", "yuv420p", str(path)], check=True)
        records.append(replace(record, num_bytes=path.stat().st_size))
    return Clips(folder, tuple(records))
