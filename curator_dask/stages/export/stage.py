"""Kept clips → training data: WebDataset shards (one unit per shard), or a Parquet index with the media."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, ClassVar

from curator_dask.data.beside_vectors.plain_clips import only_embeddings, read_plain_ids
from curator_dask.data.beside_vectors.quality_table import quality_by_id, read_quality
from curator_dask.data.clip_index import read_clip_index
from curator_dask.data.clusters import cluster_files
from curator_dask.data.ids import id_column, id_list, id_text
from curator_dask.data.tables import parquet_bytes, read_parquet
from curator_dask.dedup.quality.measure import Quality
from curator_dask.errors import InputError, ParameterError
from curator_dask.export.card import dataset_card
from curator_dask.export.index import index_table
from curator_dask.export.manifest import Manifest, manifest_text, wids_indexes
from curator_dask.export.plan import ExtraSizes, PlanParameters, ShardPlan, plan_shards
from curator_dask.export.samples import (
    QUALITY_NOT_KNOWN,
    ClipRecord,
    caption_bytes,
    clip_record,
    json_fields,
    record_inputs,
)
from curator_dask.export.shards import ShardResult, media_fault
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import read_id_list
from curator_dask.files.layout import DATASET_CARD, DROP_LIST, INDEX_TABLE, KEEP_LIST, MANIFEST_NAME, REMOVE_LIST
from curator_dask.files.names import counted
from curator_dask.keywords import with_suggestions
from curator_dask.runtime.records import Failure, digest, hashes_of
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.export.keep_list import read_keep_list
from curator_dask.stages.export.metadata import ExportedMetadata, check_metadata, join_to_clips
from curator_dask.stages.export.parameters import ExportParameters
from curator_dask.stages.export.previews import ExportedPreviews, make_previews
from curator_dask.stages.export.replaced import tell_replaced
from curator_dask.stages.export.spec import CopySpec, ShardSpec
from curator_dask.stages.export.worker import copy_media, write_one_shard

MEMBERS, CAPTION, PREVIEW = ("json", "mp4"), "txt", "webp"
ROWS_PER_BATCH = 20_000
"""Rows of the clip index that are Python objects at a time: all of them at once took most of the client's memory."""


@dataclass(frozen=True)
class Choice:
    """Which clips are exported, and what is known of them."""

    plain: Collection[str]
    """The clips that no decision names, as they are too plain for a vector."""
    metadata: ExportedMetadata | None
    num_not_listed: int | None
    """Clips that a keep list leaves out; None if there is no list."""


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
            read_keep_list(self.keep_list, self.input_storage_options)

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        if context.dry_run:
            self.check(context)
        plain = self._plain_ids()
        known = self._records(self._wanted_ids(plain))
        chosen = self._listed(known)
        metadata = join_to_clips(self, self.input, chosen)
        if metadata is not None:
            chosen = metadata.of(chosen)
            for sentence in metadata.joined.sentences:
                context.reporter.note(sentence)
        choice = Choice(plain, metadata, None if self.keep_list is None else len(known) - len(chosen))
        good, failures = self._with_media(chosen)
        if not good:
            raise InputError(
                f"nothing to export: none of the {len(chosen)} chosen clips has its media file in {self.input.url}"
            )
        if context.dry_run:
            return self._plan(state, context, good, failures, choice)
        replaced = state.claim(self.identity(), overwrite=context.overwrite, replaceable=self.replaceable)
        if replaced:
            context.reporter.note(f"export: {replaced}: the dataset is made anew")
        previews = make_previews(self.input, good, context) if self.previews else None
        if previews is not None:
            good, failures = previews.of(good), (*failures, *previews.failures)
        if not good:
            raise InputError(f"nothing to export: no preview could be made of any of the {len(chosen)} chosen clips")
        tell_replaced(state, self._planned_units(good, previews), context, has_table=choice.metadata is not None)
        export = self._export_index if self.format == "parquet" else self._export_shards
        return export(state, context, good, failures, choice, previews)

    def _plan(
        self,
        state: StageState,
        context: RunContext,
        records: list[ClipRecord],
        failures: tuple[Failure, ...],
        choice: Choice,
    ) -> StageResult:
        """What a run would do; previews that are not there yet count as units of their own."""
        previews = make_previews(self.input, records, context) if self.previews else None
        units = self._planned_units(records, previews)
        tell_replaced(state, units, context, has_table=choice.metadata is not None)
        todo, done = self.count_planned(units)
        if previews is not None:
            todo, done = todo + previews.num_run, done + previews.num_skipped
        counts = _count_clips(records, failures, choice)
        return StageResult(self.name, self.output, counts, failures, todo, done)

    def _planned_units(self, records: list[ClipRecord], previews: ExportedPreviews | None) -> list[Unit[Any]]:
        """The shards or the copies to write, if no clip turns out to be damaged."""
        if self.format == "parquet":
            return self._copies(records, previews)
        hashes = self._recorded_hashes()
        return [self._unit(plan, hashes, previews) for plan in self._shards_of(records, previews)]

    def _shards_of(self, records: list[ClipRecord], previews: ExportedPreviews | None) -> list[ShardPlan]:
        captions: ExtraSizes = {CAPTION: lambda record: len(caption_bytes(record))} if self.caption_column else {}
        shown = previews.extra_sizes() if previews is not None else {}
        return plan_shards(records, self.shards, extra_sizes={**captions, **shown})

    def _records(self, wanted: Collection[str]) -> list[ClipRecord]:
        """The clips with these ids. Raises InputError if none of them has a file."""
        scores = self._scores()
        batches = read_clip_index(self.input).to_batches(max_chunksize=ROWS_PER_BATCH)
        rows = (row for batch in batches for row in batch.to_pylist() if row["valid"] and row["id"] in wanted)
        quality_of = self._quality()
        chosen = [
            clip_record({**row, **scores.get(row["id"], {})}, quality_of(row["id"])) for row in rows if row["clip_path"]
        ]
        if not chosen:
            raise InputError(
                f"nothing to export: no kept clip of {self.duplicates_path or self.input_path} has a file in "
                f"{self.input_path}. Check that split wrote the clips (no --no-upload-clips) and that "
                "duplicates_path was made from them"
            )
        return chosen

    def _quality(self) -> Callable[[str], Quality | None]:
        """Gives the quality of a clip by its id; None for all if none is known."""
        embeddings = Folder(self.embeddings_path, self.input_storage_options) if self.embeddings_path else None
        known = quality_by_id(read_quality(self.input, embeddings))
        nothing = QUALITY_NOT_KNOWN if known else None
        return lambda clip: Quality(**known[clip]) if clip in known else nothing

    def _wanted_ids(self, plain: set[str]) -> set[str]:
        """The ids of the clips to export, as far as they have files."""
        if self.duplicates_path is None:
            kept = set(read_clip_index(self.input)["id"].to_pylist()) - plain
        else:
            kept = self._decided_ids(KEEP_LIST)
        return kept | plain if self.plain == "keep" else kept

    def _listed(self, known: list[ClipRecord]) -> list[ClipRecord]:
        """The clips of the keep list, all clips if there is none. Raises InputError if it names others than the known ones."""
        if self.keep_list is None:
            return known
        listed = set(read_keep_list(self.keep_list, self.input_storage_options))
        if others := sorted(listed.difference(record.id for record in known)):
            raise InputError(
                f"{self.keep_list} names {counted(len(others), 'clips')} that would not be exported without it, as they were "
                f"removed, are plain, or are not there; for example {', '.join(map(repr, others[:3]))}. Make the list anew"
            )
        return [record for record in known if record.id in listed]

    def _plain_ids(self) -> set[str]:
        """The clips that no decision names, because they are too plain for a vector."""
        if self.embeddings_path is None:
            embeddings = only_embeddings(self.input)
        else:
            embeddings = Folder(self.embeddings_path, self.input_storage_options)
        plain = read_plain_ids(embeddings)
        if plain and self.duplicates_path is not None:
            plain -= self._decided_ids(KEEP_LIST) | self._decided_ids(REMOVE_LIST) | self._dropped_ids()
        return plain

    def _decided_ids(self, name: str) -> set[str]:
        folder = Folder(str(self.duplicates_path), self.input_storage_options)
        if not folder.exists(name):
            raise InputError(f"{folder.url} holds no {name}: run the identify stage into it first")
        return set(read_id_list(folder.read_bytes(name)))

    def _dropped_ids(self) -> set[str]:
        """The clips that filters dropped."""
        folder = Folder(str(self.duplicates_path), self.input_storage_options)
        return set(read_id_list(folder.read_bytes(DROP_LIST))) if folder.exists(DROP_LIST) else set()

    def _scores(self) -> dict[str, dict[str, Any]]:
        if self.pairwise_path is None:
            return {}
        folder = Folder(self.pairwise_path, self.input_storage_options)
        found: dict[str, dict[str, Any]] = {}
        for cluster, entry in cluster_files(folder).items():
            table = read_parquet(folder, entry.path, [self.id_field, "max_id", "cosine_sim_score"])
            names, best = (map(id_text, id_list(id_column(table, name))) for name in (self.id_field, "max_id"))
            for name, max_id, score in zip(names, best, table["cosine_sim_score"].to_pylist(), strict=True):
                found[name] = {"cosine_sim_score": score, "max_id": max_id, "cluster": cluster}
        return found

    def _with_media(self, chosen: list[ClipRecord]) -> tuple[list[ClipRecord], tuple[Failure, ...]]:
        """The clips whose media file exists in its recorded size, and failures for the others."""
        sizes = {f"clips/{entry.path.removeprefix('clips/')}": entry.num_bytes for entry in self.input.entries("clips")}
        good, failures = [], []
        for record in chosen:
            fault = media_fault(record, sizes.get(layout.clip_path(record.id)))
            if fault is None:
                good.append(record)
            else:
                failures.append(Failure(self.name, record.source_video, "media", fault, record.id))
        return good, tuple(failures)

    def _export_shards(
        self,
        state: StageState,
        context: RunContext,
        records: list[ClipRecord],
        failures: tuple[Failure, ...],
        choice: Choice,
        previews: ExportedPreviews | None,
    ) -> StageResult:
        plans, outcome, broken = self._write_shards(state, context, records, previews)
        failures = (*failures, *broken)
        self._write_beside(state, plans, choice.metadata)
        counts = {
            **_count_clips(records, failures, choice),
            "shards": len(plans),
            "shard_bytes": outcome.counts.get("shard_bytes", 0),
            **({"previews": sum(len(plan.samples) for plan in plans)} if previews is not None else {}),
        }
        state.summarise(counts, failures=failures)
        return StageResult(self.name, self.output, counts, failures, outcome.num_run, outcome.num_skipped)

    def _write_shards(
        self, state: StageState, context: RunContext, records: list[ClipRecord], previews: ExportedPreviews | None
    ) -> tuple[list[ShardPlan], UnitsOutcome, tuple[Failure, ...]]:
        """Write the shards of all clips whose media is as it was recorded, and the failures of the others."""
        hashes = self._recorded_hashes()
        broken: tuple[Failure, ...] = ()
        while True:
            plans = self._shards_of(records, previews)
            units = [self._unit(plan, hashes, previews) for plan in plans]
            state.forget({record.key for record in state.records()} - {unit.key for unit in units})
            outcome = run_units(
                context.cluster, state, units, write_one_shard, reporter=context.reporter, what="shards"
            )
            if not outcome.failures:
                return plans, outcome, broken
            clips = {failure.clip_id for failure in outcome.failures if failure.clip_id}
            records = [record for record in records if record.id not in clips]
            if not clips or not records:
                outcome.raise_failures(f"{counted(len(outcome.failures), 'shards')} could not be written")
            broken = (*broken, *(failure for failure in outcome.failures if failure.clip_id))

    def _recorded_hashes(self) -> dict[str, str]:
        """Clip id → hash of its media, as far as the split stage recorded it."""
        found = (hashes_of(record.outputs) for record in StageState(self.input, "split").records())
        by_path = {path: content_hash for hashes in found for path, content_hash in hashes.items()}
        return {PurePosixPath(path).stem: one for path, one in by_path.items() if path.startswith("clips/")}

    def _unit(self, plan: ShardPlan, hashes: Mapping[str, str], previews: ExportedPreviews | None) -> Unit[ShardSpec]:
        inputs = [record_inputs(sample) for sample in plan.samples]
        own = {record.id: hashes[record.id] for record in plan.samples if record.id in hashes}
        spec = ShardSpec(self.input, self.output, plan, own)
        if previews is None:
            return Unit(f"{plan.split}-{plan.name}", digest(inputs), spec, plan.path)
        shown = replace(spec, previews=previews.sizes_of(plan.samples))
        return Unit(f"{plan.split}-{plan.name}", digest(inputs, previews.inputs_of(plan.samples)), shown, plan.path)

    def _write_beside(self, state: StageState, plans: list[ShardPlan], metadata: ExportedMetadata | None) -> None:
        """Write the files that describe the shards; last, so that a manifest never names a missing shard."""
        results = {record.data["shard"]["split"] + "/" + record.data["shard"]["name"]: ShardResult(**record.data["shard"])
                   for record in state.records()}  # fmt: skip
        manifest = Manifest(
            self.dataset_name,
            (*MEMBERS, *([CAPTION] if self.caption_column else []), *([PREVIEW] if self.previews else [])),
            asdict(self.shards),
            tuple(results[plan.path] for plan in plans),
            {} if metadata is None else json_fields(plans[0].samples[0], metadata.joined.kinds),
        )
        texts = {**wids_indexes(manifest), DATASET_CARD: dataset_card(manifest), MANIFEST_NAME: manifest_text(manifest)}
        for path, text in texts.items():
            state.publish(path, text.encode("utf-8"))

    def _export_index(
        self,
        state: StageState,
        context: RunContext,
        records: list[ClipRecord],
        failures: tuple[Failure, ...],
        choice: Choice,
        previews: ExportedPreviews | None,
    ) -> StageResult:
        units = self._copies(records, previews)
        state.forget({record.key for record in state.records()} - {unit.key for unit in units})
        outcome = run_units(context.cluster, state, units, copy_media, reporter=context.reporter, what="clips")
        table = index_table(
            records,
            self._media_path,
            preview_of=self._preview_path if self.previews else None,
            carried=choice.metadata.schema() if choice.metadata is not None else None,
        )
        state.publish(INDEX_TABLE, parquet_bytes(table))
        failures = (*failures, *(replace(failure, clip_id=failure.source) for failure in outcome.failures))
        counts = _count_clips(records, failures, choice)
        if previews is not None:
            counts["previews"] = counts["clips"]
        state.summarise(counts, failures=failures)
        return StageResult(
            self.name, self.output, counts, failures, outcome.num_run, outcome.num_skipped, tables=(INDEX_TABLE,)
        )

    def _copies(self, records: Sequence[ClipRecord], previews: ExportedPreviews | None) -> list[Unit[Any]]:
        """The media to copy, with their previews; none where they stay in place."""
        if self.media != "copy":
            return []
        hashes = self._recorded_hashes()
        return [
            Unit(
                record.id,
                digest(
                    record_inputs(replace(record, metadata=None)),
                    *(previews.inputs_of([record]) if previews is not None else ()),
                ),
                CopySpec(self.input, self.output, record, hashes.get(record.id, ""), previews is not None),
                record.id,
            )
            for record in records
        ]

    def _media_path(self, record: ClipRecord) -> str:
        return self._path_of(layout.clip_path(record.id))

    def _preview_path(self, record: ClipRecord) -> str:
        return self._path_of(layout.preview_path(record.id))

    def _path_of(self, path: str) -> str:
        return path if self.media == "copy" else self.input.join(path)


def _count_clips(
    records: Sequence[ClipRecord],
    failures: Sequence[Failure],
    choice: Choice,
) -> dict[str, int]:
    """The clips in the export and the failed ones, how many of each are plain, and what lists and tables say of them."""
    failed = {failure.clip_id for failure in failures}
    num_open = len({failure.clip_id for failure in failures if failure.is_open})
    exported = {record.id for record in records} - failed
    return {
        "clips": len(exported),
        "clips_plain": len(exported.intersection(choice.plain)),
        "clips_failed": len(failed) - num_open,
        **({"clips_open": num_open} if num_open else {}),
        "plain_failed": len(failed.intersection(choice.plain)),
        **({"clips_not_sampled": choice.num_not_listed} if choice.num_not_listed is not None else {}),
        **(
            choice.metadata.counts([one for one in records if one.id in exported])
            if choice.metadata is not None
            else {}
        ),
    }


def export_dataset(input_path: str, output_path: str, **parameters: Any) -> StageResult:
    """Export the kept clips. Takes the parameters of `ExportStage` and of `PlanParameters`."""
    of_plan = {name: parameters.pop(name) for name in list(parameters) if name in PlanParameters.__dataclass_fields__}
    stage = ExportStage(input_path, output_path, **parameters)
    return (replace(stage, shards=PlanParameters(**of_plan)) if of_plan else stage).run()
