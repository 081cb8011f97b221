"""A finished output → a report that people look at: previews, ``report.json`` and a page."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from curator_dask.errors import ParameterError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.temporary.temporary_folders import temporary_folder
from curator_dask.keywords import with_suggestions
from curator_dask.report.build import build_report, with_previews
from curator_dask.report.page.glance import glance_html
from curator_dask.report.page.write import PAGE, write_page
from curator_dask.report.pairs import MOST_GROUPS
from curator_dask.runtime.published import write_if_changed
from curator_dask.runtime.records import dump_json
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext, Stage, StageResult, require_paths
from curator_dask.stages.inspect.read_output import read_output
from curator_dask.stages.previews.stage import PreviewsStage, ShownClip, previews_there

ONE_FILE_GROUPS = 300
"""Up to so many groups, the page is one file that holds its previews."""
INSPECT = "inspect"
VERSION = 1


@with_suggestions
@dataclass(frozen=True)
class InspectStage(Stage):
    """Make the report of an output: ``report/report.json`` with all numbers, and ``report/index.html`` to look at.

    Previews (``previews/{id}.webp``, pictures of one clip side by side) are made once and used again. The decisions
    are only read. Where clips have no files, as for vectors of one's own, the page has no pictures.

    Args:
        output_path: The output folder of ``run``.
        previews: Make previews of the clips that the report names.
        max_groups: The most groups of duplicates to show, those with most removed clips first.
        max_previews: The most clips to make previews of, those of the first groups first.
        storage_options: fsspec options for the folder.
    """

    output_path: str
    previews: bool = True
    max_groups: int = MOST_GROUPS
    max_previews: int = 4_000
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    name: ClassVar[str] = INSPECT

    def __post_init__(self) -> None:
        require_paths(self, "output_path")
        for name in ("max_groups", "max_previews"):
            if getattr(self, name) < 0:
                raise ParameterError(f"{name} ({getattr(self, name)}) must be at least 0")

    @property
    def output(self) -> Folder:
        return Folder(self.output_path, self.storage_options)

    def identity(self) -> dict[str, Any]:
        return {"version": VERSION}

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        with temporary_folder() as scratch:
            report = build_report(read_output(self.output, scratch), most_groups=self.max_groups)
        counts = {"groups": len(report["groups"]), "sources": len(report["sources"])}
        if context.dry_run:
            self.check(context)
            planned = self._previews(report["clips"]).run(context=context)
            return StageResult(self.name, self.output, counts, (), planned.num_run, planned.num_skipped)
        state.claim(self.identity(), overwrite=context.overwrite)
        made = self._previews(report["clips"]).run(context=context)
        self._write(with_previews(report, _previews_there(self.output, report["clips"])))
        state.note_written([entry.path for entry in self.output.entries(layout.REPORT)])
        counts |= made.counts
        state.summarise(counts, failures=made.failures)
        return StageResult(self.name, self.output, counts, made.failures, made.num_run, made.num_skipped)

    def page_path(self) -> str:
        """Where the page is, as a path or URL."""
        return f"{self.output_path.rstrip('/')}/{layout.REPORT}/{PAGE}"

    def numbers(self) -> dict[str, Any]:
        """The content of ``report.json``."""
        numbers: dict[str, Any] = json.loads(self.output.read_bytes(f"{layout.REPORT}/{layout.REPORT_JSON}"))
        return numbers

    def _previews(self, clips: Mapping[str, Any]) -> PreviewsStage:
        """Previews of the clips that have a file, the first ones that the report names."""
        chosen = [
            ShownClip(name, clip["bytes"], (clip["end_s"] or 0.0) - (clip["start_s"] or 0.0))
            for name, clip in clips.items()
            if clip["clip"]
        ]
        shown = chosen[: self.max_previews] if self.previews else []
        return PreviewsStage(self.output_path, tuple(shown), self.storage_options)

    def _write(self, report: dict[str, Any]) -> None:
        folder = self.output.below(layout.REPORT)
        write_if_changed(folder, layout.REPORT_JSON, dump_json(report))
        write_page(report, folder, embed_previews=len(report["groups"]) <= ONE_FILE_GROUPS)


def _previews_there(output: Folder, clips: Iterable[str]) -> dict[str, str]:
    """The paths of the previews of these clips, as the page names them."""
    named = set(clips)
    return {name: f"../{layout.preview_path(name)}" for name, _ in previews_there(output) if name in named}


@dataclass(frozen=True)
class Report:
    """A report that was made: where its page is, and its numbers."""

    page_path: str
    line: str
    """The counts of all clips in one line."""
    numbers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The content of ``report.json``: ``numbers["sweep"]`` are the rows of the eps table."""
    folder: Folder | None = field(default=None, repr=False)
    """The folder of the report."""

    def _repr_html_(self) -> str:
        path = html.escape(self.page_path)
        seen = f"<b>{html.escape(self.line)}</b>" if self.folder is None else glance_html(self.numbers, self.folder)
        return f"{seen}<a href='{path}' target='_blank'>{path}</a>"


def inspect_run(output_path: str, **parameters: Any) -> Report:
    """Make the report of an output folder; the parameters are those of `InspectStage`."""
    stage = InspectStage(output_path, **parameters)
    stage.run()
    report = stage.numbers()
    return Report(stage.page_path(), report["totals"]["line"], report, stage.output.below(layout.REPORT))
