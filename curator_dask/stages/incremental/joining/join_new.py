"""Join the decisions on new rows on workers, and write their files; the client has no clips."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.by_overlaps.decided_groups import ToDecide
from curator_dask.stages.identify.by_overlaps.join_overlaps import join_overlaps
from curator_dask.stages.identify.decisions.table_rows import UnitTables
from curator_dask.stages.identify.overlap.decide_clips import OverlapRule
from curator_dask.stages.identify.source_groups.staying import StayingSet
from curator_dask.stages.incremental.finished.finished_overlaps import (
    FinishedOverlaps,
    references_of_new,
    vector_folders,
)
from curator_dask.stages.incremental.finished.finished_runs import FinishedRuns
from curator_dask.stages.incremental.joining.join_scores import join_scores


@dataclass(frozen=True)
class JoinNew:
    """The decisions on the new rows of all clusters."""

    context: RunContext
    state: StageState
    tables: UnitTables
    clips: Folder | None
    """The output of the split stage, if it is known."""
    finished: FinishedRuns
    below: str
    """A prefix of the paths of the files to write."""

    def by_scores(self, rule: Rule) -> dict[str, int]:
        """Join what was decided on each cluster; returns the counts."""
        return join_scores(self.context, self.state, self.tables, rule, self.clips, self.below)

    def by_overlaps(
        self, overlaps: Folder, new: Folder, how: FinishedOverlaps, strategy: RankingStrategy
    ) -> dict[str, int]:
        """Decide by the rule ``overlap``, beside the clips that finished runs kept; returns the counts.

        Args:
            overlaps: what `align_new` wrote. new: the folder of the new vectors.

        Raises InputError where a finished run removed an id that none of them has.
        """
        rule = OverlapRule(how.min_cover, "all", None, strategy, how.min_strength)
        what = ToDecide(self.tables, overlaps, rule, self._staying(new, how), None, self.clips, None)
        return join_overlaps(self.context, self.state, what, self.below, with_groups=False).counts

    def _staying(self, new: Folder, how: FinishedOverlaps) -> list[StayingSet]:
        """The clips that finished runs kept, and those of other outputs that these were held against."""
        finished = self.finished
        vectors, files = vector_folders(finished, new), finished.cluster_files()
        references = references_of_new(new, vectors, how)
        numbers = {folder.root: number for number, folder in enumerate(references, 1)}
        runs = [
            StayingSet.of_run(
                place, numbers.get(folder.root, 0), kmeans, entries, finished.id_field, finished.duplicates
            )
            for place, (folder, (kmeans, entries)) in enumerate(zip(vectors, files, strict=True))
        ]
        return [
            *runs,
            *(
                StayingSet.of_output(place, numbers.get(one.root, 0), one)
                for place, one in enumerate(how.against, len(runs))
            ),
        ]
