"""The parameters of the pairwise stage that other stages and a whole run take too."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

from curator_dask.dedup.ranking.keep_rules import parse_keep
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.errors import ParameterError
from curator_dask.files.folder import Folder
from curator_dask.files.storage_options import StorageKwargs
from curator_dask.keywords import with_suggestions

BATCH_SIZE = 1024


@with_suggestions
@dataclass(frozen=True, kw_only=True)
class PairwiseParameters:
    """How rows are ranked, and how many are compared at a time."""

    which_to_keep: str = "hard"
    """Which rows rank first. ``hard``: those far from the centroid; ``easy``: those near it; ``random``: a draw that
    depends on the ids and `random_seed` only."""
    sim_metric: str = "cosine"
    """Which distance to the centroid ranks: ``cosine`` or ``l2``. Similarity is cosine in both cases."""
    pairwise_batch_size: int = BATCH_SIZE
    """Rows per tile. It changes memory and speed, not the result. ``"auto"`` of the original means 1024 here."""
    random_seed: int = 42
    """Seed of the ranking ``random``."""
    ranking_strategy: RankingStrategy | None = None
    """Rank by any columns that k-means carried along, or by columns of the clip index, instead of `which_to_keep`."""

    def __post_init__(self) -> None:
        RankingStrategy.of(self.which_to_keep, self.sim_metric, self.random_seed)  # refuses unknown values
        object.__setattr__(self, "pairwise_batch_size", _settled_batch_size(self.pairwise_batch_size))
        if self.pairwise_batch_size < 1:
            raise ParameterError(f"pairwise_batch_size ({self.pairwise_batch_size}) must be >= 1")

    def keeping(self, rules: str) -> PairwiseParameters:
        """The same parameters with a ranking by rules such as ``largest,longest``."""
        return replace(self, ranking_strategy=parse_keep(rules))

    @property
    def strategy(self) -> RankingStrategy:
        """The ranking that these parameters describe."""
        return self.ranking_strategy or RankingStrategy.of(self.which_to_keep, self.sim_metric, self.random_seed)


def _settled_batch_size(value: Any) -> int:
    return BATCH_SIZE if value == "auto" else value


@dataclass(frozen=True)
class RankedClusters(PairwiseParameters, StorageKwargs):
    """A base of the stages that rank the rows of a k-means output: which clusters they read, and how."""

    id_field: str = "id"
    embedding_field: str = "embedding"
    input_path: str = ""
    _: KW_ONLY
    clips_path: str | None = None
    embedding_dim: int | None = None
    verbose: bool = False

    @property
    def input(self) -> Folder:
        return self.folder_to_read(self.input_path)

    @property
    def clips(self) -> Folder | None:
        return self.folder_to_read(self.clips_path) if self.clips_path is not None else None
