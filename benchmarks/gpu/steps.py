"""The parts of the GPU benchmarks and their steps. Each step is a process with a time limit of its own."""

from __future__ import annotations

from dataclasses import dataclass

PART_S = 180
"""No part takes longer, whatever its steps do."""

ARRAYS = ("cupy", "pynvml")
TORCH = ("torch",)
VIDEOS = ("torch", "av", "imageio_ffmpeg", "distributed")
RAPIDS = ("cupy", "pynvml", "cudf", "cuml", "dask_cuda", "distributed")

FIT_ONLY = ("benchmarks.gpu.kmeans", "--fit-only", "--max-iter", "10")
"""The rate of an iteration is wanted, not the best centres."""


@dataclass(frozen=True)
class Step:
    """One process."""

    name: str
    limit_s: int
    """It is killed after this many seconds."""
    needs: tuple[str, ...]
    """Modules without which it is left out."""
    command: tuple[str, ...]
    """The module and its arguments."""
    small: tuple[str, ...] = ()
    """More arguments in a rehearsal."""


def _kernels(name: str, limit_s: int) -> Step:
    return Step(name, limit_s, ARRAYS, ("benchmarks.gpu.kernels", name))


def _models(name: str, limit_s: int) -> Step:
    return Step(name, limit_s, TORCH, ("benchmarks.gpu.models", name))


def _rapids(name: str, limit_s: int) -> Step:
    return Step(name, limit_s, RAPIDS, ("benchmarks.gpu.rapids", name))


def _tests(name: str, limit_s: int, needs: tuple[str, ...], file: str, small: str) -> Step:
    """One file of tests; in a rehearsal those that `small` chooses."""
    # Warnings of another machine's libraries are no failures there.
    command = ("pytest", file, "-rs", "-p", "no:cacheprovider", "-W", "default")
    return Step(name, limit_s, (*needs, "pytest"), command, ("-k", small))


PARTS: dict[str, tuple[Step, ...]] = {
    "kernels": (
        _kernels("first-light", 60),
        _kernels("assign", 40),
        _kernels("lloyd", 40),
        _kernels("tiles", 30),
        Step("pairwise", 90, ARRAYS, ("benchmarks.gpu.pairwise",)),
        Step("alignment", 40, ARRAYS, ("benchmarks.gpu.alignment",)),
        _tests("tests", 120, ARRAYS, "tests/gpu/test_gpu_kernels.py", "not ties and not near_pairs"),
    ),
    "models": (
        _models("internvideo2-cpu", 90),
        Step("internvideo2", 60, TORCH, ("benchmarks.internvideo2",), ("--small", "--device", "cpu", "--clips", "2")),
        _models("pdqf", 30),
        _models("out-of-memory", 40),
    ),
    "embed": (
        Step("share", 150, VIDEOS, ("benchmarks.gpu.embed",), ("--small", "--device", "cpu", "--clips", "26")),
    ),
    "rapids": (
        _rapids("first-light", 70),
        _rapids("read", 40),
        _rapids("fit", 70),
        _rapids("fit-dask", 70),
        _rapids("decisions", 90),
    ),
    "rapids-tests": (
        _tests("frames", 60, RAPIDS, "tests/gpu/test_gpu_frames.py", "cpu_reads or row_groups or encodings"),
        _tests("decisions", 170, (*RAPIDS, *VIDEOS), "tests/gpu/test_gpu_decisions.py", "worked or memory"),
    ),
    "workflow": (
        Step("workflow", 175, (*RAPIDS, *VIDEOS), ("benchmarks.gpu.workflow",), ("--scenes", "2", "--length", "4")),
    ),
    "large-512": (
        Step("lloyd", 80, ARRAYS, ("benchmarks.gpu.large", "--rows", "10000000", "--dim", "512"),
             ("--rows", "20000", "--dim", "32", "--clusters", "50")),
        Step("cuml", 120, RAPIDS, (*FIT_ONLY, "--rows", "10000000", "--dim", "512"),
             ("--rows", "20000", "--dim", "32", "--clusters", "50")),
    ),
    "large-1536": (
        Step("lloyd", 80, ARRAYS, ("benchmarks.gpu.large", "--rows", "4000000", "--dim", "1536"),
             ("--rows", "20000", "--dim", "96", "--clusters", "50")),
        Step("cuml", 120, RAPIDS, (*FIT_ONLY, "--rows", "4000000", "--dim", "1536"),
             ("--rows", "20000", "--dim", "96", "--clusters", "50")),
    ),
    "files": (
        Step("stages-1536", 175, RAPIDS, ("benchmarks.gpu.kmeans", "--rows", "400000", "--dim", "1536", "--clusters", "400"),
             ("--rows", "20000", "--dim", "96", "--clusters", "50")),
    ),
}  # fmt: skip

GROUPS: dict[str, tuple[str, ...]] = {
    "large": ("large-512", "large-1536", "files"),
    "all": tuple(PARTS),
    "none": (),
}
"""Names for several parts."""


def chosen(names: list[str]) -> list[tuple[str, Step]]:
    """The steps that are asked for: parts, groups of parts, or single steps as ``part:step``.

    >>> [(part, step.name) for part, step in chosen(["models:pdqf", "embed"])]
    [('models', 'pdqf'), ('embed', 'share')]

    Raises ValueError for a name that there is not.
    """
    return [step for name in names or ["all"] for step in _steps_of(name)]


def _steps_of(name: str) -> list[tuple[str, Step]]:
    if name in GROUPS:
        return [(part, step) for part in GROUPS[name] for step in PARTS[part]]
    part, _, only = name.partition(":")
    found = [(part, step) for step in PARTS.get(part, ()) if only in ("", step.name)]
    if not found:
        raise ValueError(f"there is no {name!r}: give some of {', '.join([*PARTS, *GROUPS])}, or one step as part:step")
    return found
