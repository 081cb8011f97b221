"""The units of split whose videos are gone. Memory holds these, and a key for each video that is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from curator_dask.data.clip_index import clip_index_batches, has_clip_index
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.video_listing import source_folder
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.stages.split.long_video import PART_OF
from curator_dask.verify.recorded_files import FileRecords, UnitKey
from curator_dask.verify.stage_records import StageRecords, UnitOfStage

SPLIT = "split"


class GoneUnit(NamedTuple):
    """A unit of a video that is gone."""

    video: str
    """The key of the unit of the whole video."""
    name: str
    """The path of the video; of one without clips what its failure names, else ""."""
    clips: tuple[str, ...]
    """The ids of the clips."""


@dataclass
class GoneVideos:
    """The videos that are gone; `look_at` all units first, and `check` then."""

    units: dict[UnitKey, GoneUnit] = field(default_factory=dict)
    _present: dict[int, frozenset[str]] = field(default_factory=dict)
    """Number of a split stage → keys of the units of all files in the folder of its videos."""
    _fault: str = ""

    def look_at(self, unit: UnitOfStage) -> None:
        """Keep the unit if its video is gone."""
        if unit.state.stage != SPLIT:
            return
        if unit.stage not in self._present:
            self._present[unit.stage] = self._videos_present(unit.state)
        video, present = str(unit.record.data.get(PART_OF, unit.record.key)), self._present[unit.stage]
        if present and video not in present:
            self.units[unit.stage, unit.record.key] = _gone_unit(video, unit.record)

    def check(self) -> None:
        """Raise InputError if a folder of videos is not there, or empty."""
        if self._fault:
            raise InputError(self._fault)

    def names(self) -> tuple[str, ...]:
        """The paths of the videos, sorted; the keys of those whose paths nobody knows."""
        names: dict[tuple[int, str], str] = {}
        for (stage, _), unit in sorted(self.units.items()):
            names[stage, unit.video] = names.get((stage, unit.video)) or unit.name
        return tuple(sorted(name or video for (_, video), name in names.items()))

    def clips(self) -> Iterator[tuple[int, str]]:
        """The clips, each with the number of its stage."""
        return ((stage, clip) for (stage, _), unit in self.units.items() for clip in unit.clips)

    def leave_out_needed(self, stages: Sequence[StageRecords], files: Iterable[FileRecords]) -> int:
        """Leave out videos that the clip index still names, or that share a file with another one; returns their number."""
        if not self.units:
            return 0
        needed = {*self._listed(stages), *self._shared(files)}
        self.units = {key: unit for key, unit in self.units.items() if (key[0], unit.video) not in needed}
        return len(needed)

    def _listed(self, stages: Sequence[StageRecords]) -> Iterator[tuple[int, str]]:
        for at in {stage for stage, _ in self.units}:
            own = [unit for (stage, _), unit in self.units.items() if stage == at]
            folder, wanted = stages[at].state.folder, {clip for unit in own for clip in unit.clips}
            batches = clip_index_batches(folder, ["id"]) if has_clip_index(folder) else ()
            listed = {clip for batch in batches for clip in batch["id"].to_pylist() if clip in wanted}
            yield from ((at, unit.video) for unit in own if not listed.isdisjoint(unit.clips))

    def _shared(self, files: Iterable[FileRecords]) -> Iterator[tuple[int, str]]:
        for file in files:
            gone = [one for one in file.units() if one in self.units]
            present = {stage for stage, key in file.units() if (stage, key) not in self.units} if gone else ()
            yield from ((stage, self.units[stage, key].video) for stage, key in gone if stage in present)

    def _videos_present(self, split: StageState) -> frozenset[str]:
        """The keys of the units of all files in the folder of the videos, whether or not a run would choose them."""
        recorded = split.recorded_path("video_dir")
        if not recorded:
            self._fault = f"{split.folder.url} does not say where its videos are, so nothing can be called gone"
            return frozenset()
        folder = source_folder(Folder(recorded, split.folder.storage_options))
        entries = folder.entries(hidden=True) if folder.exists() else []
        if not entries:
            self._fault = (
                f"{folder.url}, the folder of the videos, is not there or holds no file, so nothing can be called gone: "
                "make it reachable, then prune"
            )
        return frozenset(digest(entry.path) for entry in entries)


def _gone_unit(video: str, record: UnitRecord) -> GoneUnit:
    rows = record.data.get("clips", ())
    named = [row["relative_path"] for row in rows] or [failure.source for failure in record.failures]
    return GoneUnit(video, next(iter(named), ""), tuple(row["id"] for row in rows))
