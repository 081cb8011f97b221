"""Results as one JSON document on stdout, for programs."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curator_dask.stages.base import StageResult


def print_document(document: Any) -> None:
    """Print a JSON value. A number that JSON has no word for (the share of nothing) becomes null."""
    text = json.dumps(_with_nulls(document), indent=2, allow_nan=False)
    print(text)  # noqa: T201  the command line may print


def _with_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _with_nulls(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def results_document(results: Sequence[StageResult], *, dry_run: bool, failures_path: str | None) -> dict[str, Any]:
    """What stages did. `failures_path`: the file that lists their failures, if there is one."""
    failures = [failure for result in results for failure in result.failures]
    return {
        "dry_run": dry_run,
        "stages": [_stage_document(result) for result in results],
        "failures": {
            "number": len(failures),
            "reasons": dict(sorted(Counter(failure.reason for failure in failures).items())),
            "path": failures_path,
        },
    }


def _stage_document(result: StageResult) -> dict[str, Any]:
    return {
        "stage": result.stage,
        "output_path": result.output_path,
        "counts": dict(result.counts),
        "units_done_now": result.num_run,
        "units_from_before": result.num_skipped,
        "seconds": round(result.seconds, 3),
        "num_failures": len(result.failures),
        "num_plain": len(result.plain),
        "left_out": {reason: dict(endings) for reason, endings in result.left_out.items()},
        "warnings": list(result.warnings),
    }


def faults_document(faults: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Faults in the shape of failures: their number, and all of them."""
    return {"number": len(faults), "list": list(faults)}
