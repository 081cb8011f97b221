"""What is final is a closed list, each with its proof; everything else is open."""

from __future__ import annotations

import errno

import pytest

from curator_dask.errors import ClusterError, CuratorError, DeviceError, InputError, ParameterError, ToolError
from curator_dask.runtime.failing.final_reasons import FINAL_REASONS, MACHINE_ERROR, is_final, reason_of
from curator_dask.runtime.records import Failure, failures_jsonl


def test_each_final_reason_has_its_proof():
    assert all(len(proof.split()) > 5 for proof in FINAL_REASONS.values())


@pytest.mark.parametrize(
    "reason",
    [
        *(
            "killed",
            "no-space",
            "out-of-memory",
            "timeout",
            "worker-lost",
            "list-cut-short",
            "cut-failed",
            "decode-failed",
        ),
        *(
            "probe-crashed",
            "unreadable",
            "missing",
            "internal-error",
            "machine-error",
            "media-unreadable",
            "record-lost",
        ),
        "a reason that nobody has thought of",
    ],
)
def test_what_says_something_of_the_machine_is_open(reason):
    assert not is_final(reason)
    assert Failure("split", "x.mp4", reason, "why").is_open
    assert b'"open": true' in failures_jsonl([Failure("split", "x.mp4", reason, "why")])


def _caused(error: CuratorError, cause: BaseException) -> CuratorError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InputError("the table has no column of vectors"), "failed"),
        (ParameterError("a stride of 0 s"), "failed"),
        (_caused(InputError("cannot write"), OSError(errno.ENOSPC, "full")), MACHINE_ERROR),
        (_caused(InputError("cannot read"), MemoryError()), MACHINE_ERROR),
        (DeviceError("the GPU ran out of memory"), MACHINE_ERROR),
        (ClusterError("no workers"), MACHINE_ERROR),
        (ToolError("no ffmpeg"), MACHINE_ERROR),
    ],
)
def test_an_error_of_the_package_is_final_only_where_the_content_was_refused(error, reason):
    assert reason_of(error) == reason
