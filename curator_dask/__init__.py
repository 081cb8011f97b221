"""curator_dask: from raw video to a de-duplicated training set, with Dask, on a laptop or on RAPIDS GPUs.

A public name is imported at its first use, so ``import curator_dask`` is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from curator_dask._version import __version__

if TYPE_CHECKING:
    from curator_dask.dedup.ranking.strategy import RankingStrategy
    from curator_dask.errors import (
        ClusterError,
        CuratorError,
        DeviceError,
        FolderInUseError,
        FolderLockedError,
        InputError,
        MediaError,
        ModelError,
        OpenFailureError,
        ParameterError,
        ToolError,
        UnknownParameterError,
    )
    from curator_dask.export.plan import PlanParameters
    from curator_dask.files.folder import Folder
    from curator_dask.files.layout import ClipWriterStage
    from curator_dask.models.registry import register_model
    from curator_dask.one_call import curate
    from curator_dask.pipeline import Pipeline
    from curator_dask.planning.estimate import RunPlan, StageEstimate, plan_run
    from curator_dask.planning.probe import measure_rates
    from curator_dask.planning.rates import StageRates, read_rates
    from curator_dask.planning.run_size import RunSize
    from curator_dask.runtime.cluster import LazyCluster, dask_client
    from curator_dask.runtime.cluster_settings import ClusterSettings
    from curator_dask.similar.similar_clips import similar_clips
    from curator_dask.stages.align.parameters import AlignParameters
    from curator_dask.stages.align.stage import AlignStage, align_clips
    from curator_dask.stages.base import RunContext, Stage, StageResult
    from curator_dask.stages.calibrate.stage import CalibrateStage, calibrate_eps
    from curator_dask.stages.cross_cluster.stage import CrossClusterStage, score_across_clusters
    from curator_dask.stages.embed.parameters import EmbedParameters
    from curator_dask.stages.embed.stage import EmbedStage, embed_clips
    from curator_dask.stages.export.parameters import ExportParameters
    from curator_dask.stages.export.stage import ExportStage, export_dataset
    from curator_dask.stages.export.verify import verify_dataset
    from curator_dask.stages.identify.parameters import IdentifyParameters
    from curator_dask.stages.identify.stage import IdentifyDuplicatesStage, identify_duplicates
    from curator_dask.stages.incremental.stage import IncrementalStage, dedup_new_vectors
    from curator_dask.stages.inspect.stage import InspectStage, inspect_run
    from curator_dask.stages.kmeans.parameters import KMeansParameters
    from curator_dask.stages.kmeans.stage import KMeansStage, cluster_embeddings
    from curator_dask.stages.pairwise.parameters import PairwiseParameters
    from curator_dask.stages.pairwise.stage import PairwiseStage, score_pairs
    from curator_dask.stages.previews.stage import PreviewsStage, ShownClip
    from curator_dask.stages.sample.stage import SampleResult, SampleStage, sample_clips
    from curator_dask.stages.split.stage import SplitStage, split_videos
    from curator_dask.verify.prune import Leftovers, prune_output
    from curator_dask.verify.verify_output import OutputCheck, verify_output
    from curator_dask.workflow import Workflow
    from curator_dask.workflow_result import WorkflowResult

_HOME = {
    "runtime.cluster": ("LazyCluster", "dask_client"),
    "runtime.cluster_settings": ("ClusterSettings",),
    "dedup.ranking.strategy": ("RankingStrategy",),
    "errors": (
        "ClusterError",
        "CuratorError",
        "DeviceError",
        "FolderInUseError",
        "FolderLockedError",
        "InputError",
        "MediaError",
        "ModelError",
        "OpenFailureError",
        "ParameterError",
        "ToolError",
        "UnknownParameterError",
    ),
    "files.layout": ("ClipWriterStage",),
    "models.registry": ("register_model",),
    "pipeline": ("Pipeline",),
    "planning.estimate": ("RunPlan", "StageEstimate", "plan_run"),
    "planning.probe": ("measure_rates",),
    "planning.rates": ("StageRates", "read_rates"),
    "planning.run_size": ("RunSize",),
    "stages.align.parameters": ("AlignParameters",),
    "stages.align.stage": ("AlignStage", "align_clips"),
    "stages.base": ("RunContext", "Stage", "StageResult"),
    "stages.calibrate.stage": ("CalibrateStage", "calibrate_eps"),
    "stages.cross_cluster.stage": ("CrossClusterStage", "score_across_clusters"),
    "similar.similar_clips": ("similar_clips",),
    "stages.embed.parameters": ("EmbedParameters",),
    "stages.embed.stage": ("EmbedStage", "embed_clips"),
    "stages.export.parameters": ("ExportParameters",),
    "stages.export.stage": ("ExportStage", "export_dataset"),
    "stages.identify.parameters": ("IdentifyParameters",),
    "stages.identify.stage": ("IdentifyDuplicatesStage", "identify_duplicates"),
    "stages.incremental.stage": ("IncrementalStage", "dedup_new_vectors"),
    "stages.inspect.stage": ("InspectStage", "inspect_run"),
    "stages.kmeans.parameters": ("KMeansParameters",),
    "stages.kmeans.stage": ("KMeansStage", "cluster_embeddings"),
    "stages.pairwise.parameters": ("PairwiseParameters",),
    "stages.pairwise.stage": ("PairwiseStage", "score_pairs"),
    "stages.previews.stage": ("PreviewsStage", "ShownClip"),
    "stages.sample.stage": ("SampleResult", "SampleStage", "sample_clips"),
    "stages.split.stage": ("SplitStage", "split_videos"),
    "stages.export.verify": ("verify_dataset",),
    "verify.prune": ("Leftovers", "prune_output"),
    "verify.verify_output": ("OutputCheck", "verify_output"),
    "export.plan": ("PlanParameters",),
    "files.folder": ("Folder",),
    "one_call": ("curate",),
    "workflow": ("Workflow",),
    "workflow_result": ("WorkflowResult",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "AlignParameters",
    "AlignStage",
    "CalibrateStage",
    "ClipWriterStage",
    "ClusterError",
    "ClusterSettings",
    "CrossClusterStage",
    "CuratorError",
    "DeviceError",
    "EmbedParameters",
    "EmbedStage",
    "ExportParameters",
    "ExportStage",
    "Folder",
    "FolderInUseError",
    "FolderLockedError",
    "IdentifyDuplicatesStage",
    "IdentifyParameters",
    "IncrementalStage",
    "InputError",
    "InspectStage",
    "KMeansParameters",
    "KMeansStage",
    "LazyCluster",
    "Leftovers",
    "MediaError",
    "ModelError",
    "OpenFailureError",
    "OutputCheck",
    "PairwiseParameters",
    "PairwiseStage",
    "ParameterError",
    "Pipeline",
    "PlanParameters",
    "PreviewsStage",
    "RankingStrategy",
    "RunContext",
    "RunPlan",
    "RunSize",
    "SampleResult",
    "SampleStage",
    "ShownClip",
    "SplitStage",
    "Stage",
    "StageEstimate",
    "StageRates",
    "StageResult",
    "ToolError",
    "UnknownParameterError",
    "Workflow",
    "WorkflowResult",
    "__version__",
    "align_clips",
    "calibrate_eps",
    "cluster_embeddings",
    "curate",
    "dask_client",
    "dedup_new_vectors",
    "embed_clips",
    "export_dataset",
    "identify_duplicates",
    "inspect_run",
    "measure_rates",
    "plan_run",
    "prune_output",
    "read_rates",
    "register_model",
    "sample_clips",
    "score_across_clusters",
    "score_pairs",
    "similar_clips",
    "split_videos",
    "verify_dataset",
    "verify_output",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'curator_dask' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"curator_dask.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
