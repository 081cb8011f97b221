"""The parameters of the identify stage that a whole run takes too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curator_dask.dedup.decide.cover import check_min_cover
from curator_dask.dedup.decide.rules import AUTO, RULES, check_rule
from curator_dask.dedup.similarity.scope import check_scope
from curator_dask.dedup.similarity.threshold import check_eps, chosen_eps
from curator_dask.errors import ParameterError
from curator_dask.keywords import with_suggestions
from curator_dask.report.review.overrides import Override, read_overrides
from curator_dask.stages.identify.decisions.dropped import QualityFilters

COPIES = "copies"
"""The value of `also`."""
RULE_BY_INPUT = AUTO
"""The `rule` that leaves the choice to what there is to decide by."""


@with_suggestions
@dataclass(frozen=True, kw_only=True)
class IdentifyParameters:
    """How duplicates are decided: the limit, the rule, and the pairs that count."""

    eps: float | None = None
    """A row is a duplicate of a row ranked before it if their cosine is at least 1 − eps. None: the default of the
    embedding model where it is known (in a whole run), else 0.01; or the eps that `target_keep` leads to."""
    target_keep: float | None = None
    """Instead of eps: use the largest eps that leaves at least this share of the rows, from 0 to 1. With the rule
    ``overlap``: leave out the weakest overlaps, as many as it takes."""
    rule: str = AUTO
    """Which similar rows cause a removal. ``auto``: ``overlap`` where overlaps are at hand, in a whole run with a model
    without weights and no eps; else ``pairwise``. ``pairwise``: any row ranked before it, even a removed one. ``greedy``: kept
    rows only, so that every removed row has a kept row within eps. ``overlap``: kept clips that show the same moments, as
    the align stage found them; eps does not count."""
    also: str | None = None
    """``copies``: remove copies first, by the rule ``overlap``, and then, of the clips that are left, near neighbours by the
    rule ``greedy``. It needs overlaps. None: one rule decides."""
    min_cover: float = 0.8
    """With the rule ``overlap``: a clip is removed if kept clips show at least this share of its length."""
    scope: str = "all"
    """Which pairs of rows count. ``all``; ``cross``: only pairs of different source videos; ``same``: only pairs of the
    same source video."""
    source_field: str | None = None
    """The column of the k-means output that names the source of a row. None: the source video of the clip index."""
    min_motion: float | None = None
    """Drop clips with a lower ``motion_mean``, from 0 to 1, before anything is decided. None: whatever they show."""
    max_static_share: float | None = None
    """Drop clips with a higher ``frozen_share``, from 0 to 1. None: however long they stand still."""
    drop_black: bool = False
    """Drop clips of which at least 90 % of the frames are black (``black_share``)."""
    recall_sample: int = 0
    """Compare this many sampled rows with all rows, and count how many of their duplicates lie in the same cluster."""
    overrides: str | None = None
    """A CSV file with decisions by hand (``id,decision,note``, the decision ``keep`` or ``remove``), which go over those of
    the rule. It is no part of what determines a run: another file, or another content, needs no overwriting."""

    def __post_init__(self) -> None:
        if self.eps is not None and self.target_keep is not None:
            raise ParameterError(f"eps ({self.eps}) and target_keep ({self.target_keep}) exclude each other: give one")
        if self.eps is not None:
            check_eps(self.eps)
        if self.target_keep is not None and not 0 <= self.target_keep <= 1:
            raise ParameterError(f"target_keep must be from 0 to 1, got {self.target_keep}")
        if self.recall_sample < 0:
            raise ParameterError(f"recall_sample ({self.recall_sample}) must be >= 0")
        self.filters()  # checks them
        check_rule(self.rule, (AUTO, *RULES))
        self._check_also()
        check_min_cover(self.min_cover)
        check_scope(self.scope)

    def filters(self) -> QualityFilters:
        """What is asked of the pictures of clips."""
        return QualityFilters(self.min_motion, self.max_static_share, self.drop_black)

    def _check_also(self) -> None:
        if self.also is None:
            return
        if self.also != COPIES:
            raise ParameterError(f"also must be {COPIES!r} or left out, got {self.also!r}")
        if self.rule not in (AUTO, "greedy"):
            raise ParameterError(
                f"also 'copies' decides by the rules overlap and greedy, and rule is {self.rule!r}: leave it out, or leave "
                "out also"
            )
        if self.target_keep is not None:
            raise ParameterError(f"also 'copies' takes an eps, not target_keep ({self.target_keep}): give eps")

    def eps_for_model(self, model_default: float) -> float:
        """The eps to decide by for vectors of a model with this default."""
        return chosen_eps(self.eps, model_default)

    def read_overrides(self, storage_options: Mapping[str, Any]) -> dict[str, Override]:
        """What a person decided, by id. Raises InputError where the file cannot be read."""
        return {} if self.overrides is None else read_overrides(self.overrides, storage_options)


def check_overlap_parameters(
    parameters: IdentifyParameters, overlaps_path: str | None, against_path: str | Sequence[str] | None
) -> None:
    """Raise ParameterError where the parameters of a stage and its use of overlaps do not fit together."""
    if parameters.rule != "overlap" and parameters.also is None:
        _refuse_overlaps(parameters.rule, overlaps_path, against_path)
        return
    who = "rule 'overlap'" if parameters.also is None else f"also {parameters.also!r}"
    if against_path and parameters.scope == "same":
        raise ParameterError(
            f"scope 'same' leaves out all pairs with clips of against_path ({against_path}): give scope all or cross"
        )
    if overlaps_path is None:
        raise ParameterError(f"{who} needs overlaps_path: the output of the align stage")
    if parameters.source_field is not None:
        raise ParameterError(
            f"{who} takes sources from overlaps_path: source_field ({parameters.source_field!r}) does not count"
        )
    if parameters.rule == "overlap":
        _refuse_eps(parameters)


def _refuse_overlaps(rule: str, overlaps_path: str | None, against_path: str | Sequence[str] | None) -> None:
    for name, value in (("overlaps_path", overlaps_path), ("against_path", against_path)):
        if value:
            raise ParameterError(
                f"{name} ({value}) is for the rule overlap only, and rule is {rule!r}. Eps, recall_sample, "
                "cross-cluster and vectors without tracks lead to other rules: leave them out, or give rule overlap, or also "
                "copies"
            )


def _refuse_eps(parameters: IdentifyParameters) -> None:
    if parameters.eps is not None:
        raise ParameterError(f"rule 'overlap' knows no eps, got {parameters.eps}: give min_cover or target_keep")
    if parameters.recall_sample:
        raise ParameterError("recall_sample counts pairs within eps, which rule 'overlap' does not know: leave it out")
