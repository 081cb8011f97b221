"""Kept clips → training data: WebDataset shards (one unit per shard), or a Parquet index with the media."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from curator_dask.errors import InputError, ParameterError
from curator_dask.export.card import dataset_card
from curator_dask.export.manifest import Manifest, manifest_text, wids_indexes
from curator_dask.export.planned.cut import PlannedShard
from curator_dask.export.samples import json_fields
from curator_dask.export.shards import ShardResult
from curator_dask.files.folder import Folder
from curator_dask.files.layout import DATASET_CARD, INDEX_TABLE, MANIFEST_NAME
from curator_dask.files.names import counted
from curator_dask.files.temporary.temporary_folders import temporary_folder
from curator_dask.keywords import with_suggestions
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.export.clips.carried import join_to_clips
from curator_dask.stages.export.clips.chosen import choose
from curator_dask.stages.export.clips.counts import count_clips, undecided
from curator_dask.stages.export.clips.exported import ExportedClips
from curator_dask.stages.export.clips.keep_list import check_keep_list
from curator_dask.stages.export.clips.plan_files import plan_files, plan_path, shard_key
from curator_dask.stages.export.clips.previews import make_previews
from curator_dask.stages.export.clips.sources import Sources
from curator_dask.stages.export.metadata import check_metadata, metadata_table
from curator_dask.stages.export.parameters import ExportParameters, PlanParameters
from curator_dask.stages.export.replaced import tell_replaced
from curator_dask.stages.export.spec import ShardSpec
from curator_dask.stages.export.table import ClipTable
from curator_dask.stages.export.worker import copy_clips, write_one_shard

MEMBERS, CAPTION, PREVIEW = ("json", "mp4"), "txt", "webp"
GROUPS = "groups"
"""What is copied together: the media of some clips."""


@with_suggestions
@dataclass(frozen=True)
class ExportStage(ExportParameters, Stage):
    """Write the kept clips as training data.

    ``webdataset``: ``{split}/000000.tar`` …, ``manifest.json``, ``index.json`` (wids) and a dataset card.
    ``parquet``: ``index.parquet``, one row per kept clip, with the media copied beside it or left in place.

    Args:
        input_path: the output of the split stage.
        output_path: folder or URL for the training data.
        duplicates_path: the output of the identify stage; None only together with `all_clips`.
        pairwise_path: the output of the pairwise stage; adds score, nearest earlier clip and cluster of each clip.
        all_clips: export every good clip, duplicates too.
        embeddings_path: the output of the embed stage, which lists the plain clips; None: the one below `input_path`.
        keep_list: a text file with one id per line, such as ``sample/keep.txt``: only these of the clips are exported.
        id_field: column of the ids in `pairwise_path`.
        input_storage_options: fsspec options for the input paths.
        output_storage_options: fsspec options for `output_path`.
        format: ``webdataset`` or ``parquet``.
        media: with format ``parquet``: ``copy`` the media into the export, or ``reference`` them where they are.
        dataset_name: the name in the manifest and in the dataset card.
        plain: what becomes of clips that are too plain for a vector, and so were not compared: ``keep`` or ``drop``.
        previews: also make a preview of each clip, ``previews/{id}.webp`` below `input_path`, and export it with the clip.
        metadata: a table of your own, a CSV or Parquet file or URL, whose rows are joined to the clips. Its columns go into the
            JSON of each sample as ``metadata``, and into columns ``metadata.NAME`` of ``index.parquet``.
        metadata_key: the column of `metadata` that names clips, by their ids, or videos, by their paths relative to the input
            folder, their full paths, or their file names. None: the one with a usual name that names most.
        metadata_columns: the columns of `metadata` to carry. None: all but the key and the caption.
        caption_column: the column of `metadata` whose texts become the ``.txt`` member of each sample.
        shards: the order of the clips, the splits, and the limits of a shard.
    """

    input_path: str
    output_path: str
    duplicates_path: str | None = None
    pairwise_path: str | None = None
    all_clips: bool = False
    id_field: str = "id"
    embeddings_path: str | None = None
    keep_list: str | None = None
    input_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    output_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    name: ClassVar[str] = "export"
    replaceable: ClassVar[frozenset[str]] = frozenset(("plain", "pairwise_path", "keep_list"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.all_clips == (self.duplicates_path is not None):
            raise ParameterError(
                "give duplicates_path (the output of identify) to leave the duplicates out, or all_clips to keep them"
            )

    @property
    def input(self) -> Folder:
        return Folder(self.input_path, self.input_storage_options)

    @property
    def output(self) -> Folder:
        return Folder(self.output_path, self.output_storage_options)

    def identity(self) -> dict[str, Any]:
        return {
            "input_path": self.input.root,
            "duplicates_path": self._root_of(self.duplicates_path),
            "pairwise_path": self._root_of(self.pairwise_path),
            "all_clips": self.all_clips,
            "format": self.format,
            "media": self.media,
            "dataset_name": self.dataset_name,
            "shards": asdict(self.shards),
            # Only where it was chosen: exports of versions without this parameter are still recognised.
            **({"plain": self.plain} if self.plain != "keep" else {}),
            **({"previews": True} if self.previews else {}),
            **({"keep_list": True} if self.keep_list is not None else {}),  # its content is an input of each shard
            **self.metadata_identity(),
        }

    def _root_of(self, path: str | None) -> str | None:
        return Folder(path, self.input_storage_options).root if path is not None else None

    def check(self, context: RunContext) -> None:
        super().check(context)
        check_metadata(self, self.input_storage_options)
        if self.keep_list is not None:
            check_keep_list(self.keep_list, self.input_storage_options)

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        if context.dry_run:
            self.check(context)
        with temporary_folder() as scratch:
            clips = self._clips(scratch, context)
            if context.dry_run:
                return self._plan(state, context, clips)
            replaced = state.claim(self.identity(), overwrite=context.overwrite, replaceable=self.replaceable)
            if replaced:
                context.reporter.note(f"export: {replaced}: the dataset is made anew")
            self._add_previews(clips, context)
            export = self._export_table if self.format == "parquet" else self._export_shards
            return export(state, context, clips)

    def _clips(self, scratch: Path, context: RunContext) -> ExportedClips:
        """The clips to export. Raises InputError if there are none."""
        sources = self._sources()
        clips = ExportedClips(choose(sources, self.shards.seed, scratch), self.shards, scratch)
        if (sentence := undecided(clips)) is not None:
            context.reporter.note(f"export: {sentence}")
        if len(self.shards.splits) > 1:
            clips.add_groups(sources.groups())
        if (found := metadata_table(self, self.input_storage_options)) is not None:
            clips.metadata = join_to_clips(*found, self.input, clips.chosen.rows, self.shards.seed, scratch)
            for sentence in clips.metadata.joined.sentences:
                context.reporter.note(sentence)
        return clips

    def _sources(self) -> Sources:
        decisions, scores, embeddings = (
            Folder(path, self.input_storage_options) if path is not None else None
            for path in (self.duplicates_path, self.pairwise_path, self.embeddings_path)
        )
        return Sources(
            self.input, decisions, scores, embeddings, self.keep_list, self.id_field, keeps_plain=self.plain == "keep"
        )

    def _add_previews(self, clips: ExportedClips, context: RunContext) -> None:
        """Make the previews, and leave out the clips of which none can be made."""
        if not self.previews:
            return
        clips.previews = make_previews(self.input, clips.chosen.rows, self.shards.seed, clips.scratch, context)
        if context.dry_run:
            return
        clips.leave_out(clips.previews.failures)
        if not clips.num_clips:
            num_chosen = clips.chosen.num_chosen
            raise InputError(f"nothing to export: no preview could be made of any of the {num_chosen} chosen clips")

    def _plan(self, state: StageState, context: RunContext, clips: ExportedClips) -> StageResult:
        """What a run would do; previews that are not there yet count as units of their own."""
        self._add_previews(clips, context)
        is_table = self.format == "parquet"
        units = self._table(clips).copies(state) if is_table else self._units(state, clips.shards())
        of = GROUPS if is_table else "files"
        tell_replaced(state, units, context, has_table=clips.metadata is not None, of=of)
        todo, done = self.count_planned(units)
        if clips.previews is not None:
            todo, done = todo + clips.previews.num_run, done + clips.previews.num_skipped
        return StageResult(
            self.name, self.output, count_clips(clips, has_list=self.keep_list is not None), clips.failures, todo, done
        )

    def _units(self, state: StageState, shards: Sequence[PlannedShard]) -> list[Unit[ShardSpec]]:
        return [self._unit(state, shard) for shard in shards]

    def _unit(self, state: StageState, shard: PlannedShard) -> Unit[ShardSpec]:
        key = shard_key(shard)
        plan = plan_path(state, key)
        spec = ShardSpec(self.input, self.output, shard.split, shard.name, shard.num_bytes, plan)
        return Unit(key, shard.inputs, spec, shard.path)

    def _export_shards(self, state: StageState, context: RunContext, clips: ExportedClips) -> StageResult:
        shards, outcome = self._write_shards(state, context, clips)
        self._write_beside(state, shards, clips)
        counts = {
            **count_clips(clips, has_list=self.keep_list is not None),
            "shards": len(shards),
            "shard_bytes": outcome.counts.get("shard_bytes", 0),
            **({"previews": sum(shard.num_samples for shard in shards)} if self.previews else {}),
        }
        state.summarise(counts, failures=clips.failures)
        return StageResult(self.name, self.output, counts, clips.failures, outcome.num_run, outcome.num_skipped)

    def _write_shards(
        self, state: StageState, context: RunContext, clips: ExportedClips
    ) -> tuple[list[PlannedShard], UnitsOutcome]:
        """Write the shards of all clips whose media is as it was recorded; the others are left out."""
        shards = clips.shards()
        tell_replaced(state, self._units(state, shards), context, has_table=clips.metadata is not None)
        while True:
            outcome = self._write_planned(state, context, clips, shards)
            if not outcome.failures:
                return shards, outcome
            broken = [failure for failure in outcome.failures if failure.clip_id]
            clips.leave_out(broken)
            if not broken or not clips.num_clips:
                outcome.raise_failures(f"{counted(len(outcome.failures), 'shards')} could not be written")
            shards = clips.shards()

    def _write_planned(
        self, state: StageState, context: RunContext, clips: ExportedClips, shards: Sequence[PlannedShard]
    ) -> UnitsOutcome:
        """Write the shards of a plan that are not there yet, and remove those that are in no plan any more."""
        units = self._units(state, shards)
        state.forget(state.unit_keys() - {unit.key for unit in units})
        done = state.done_units()
        todo = {unit.key for unit in units if done.get(unit.key) != unit.inputs}
        if todo:
            clips.add_hashes(self._sources().hashes())
        with plan_files(state, clips, shards, todo):
            return run_units(context.cluster, state, units, write_one_shard, reporter=context.reporter, what="shards")

    def _write_beside(self, state: StageState, shards: Sequence[PlannedShard], clips: ExportedClips) -> None:
        """Write the files that describe the shards; last, so that a manifest never names a missing shard."""
        results = {record.data["shard"]["split"] + "/" + record.data["shard"]["name"]: ShardResult(**record.data["shard"])
                   for record in state.records()}  # fmt: skip
        carried = None if clips.metadata is None else clips.metadata.joined.kinds
        manifest = Manifest(
            self.dataset_name,
            (*MEMBERS, *([CAPTION] if self.caption_column else []), *([PREVIEW] if self.previews else [])),
            asdict(self.shards),
            tuple(results[shard.path] for shard in shards),
            {} if carried is None else json_fields(carried, with_quality=clips.chosen.with_quality),
        )
        texts = {**wids_indexes(manifest), DATASET_CARD: dataset_card(manifest), MANIFEST_NAME: manifest_text(manifest)}
        for path, text in texts.items():
            state.publish(path, text.encode("utf-8"))

    def _table(self, clips: ExportedClips) -> ClipTable:
        return ClipTable(clips, self.input, self.output, copies_media=self.media == "copy")

    def _export_table(self, state: StageState, context: RunContext, clips: ExportedClips) -> StageResult:
        table = self._table(clips)
        units = table.copies(state)
        tell_replaced(state, units, context, has_table=clips.metadata is not None, of=GROUPS)
        state.forget(state.unit_keys() - {unit.key for unit in units})
        done = state.done_units()
        todo = {unit.key for unit in units if done.get(unit.key) != unit.inputs}
        if todo:
            clips.add_hashes(self._sources().hashes())
        with table.planned(state, todo):
            outcome = run_units(context.cluster, state, units, copy_clips, reporter=context.reporter, what=GROUPS)
        table.publish(state)
        clips.note_failed(table.failures(outcome.failures))
        counts = count_clips(clips, has_list=self.keep_list is not None)
        if self.previews:
            counts["previews"] = counts["clips"]
        state.summarise(counts, failures=clips.failures)
        tables = (INDEX_TABLE,)
        return StageResult(
            self.name, self.output, counts, clips.failures, outcome.num_run, outcome.num_skipped, tables=tables
        )


def export_dataset(input_path: str, output_path: str, **parameters: Any) -> StageResult:
    """Export the kept clips. Takes the parameters of `ExportStage` and of `PlanParameters`."""
    of_plan = {name: parameters.pop(name) for name in list(parameters) if name in PlanParameters.__dataclass_fields__}
    stage = ExportStage(input_path, output_path, **parameters)
    return (replace(stage, shards=PlanParameters(**of_plan)) if of_plan else stage).run()
