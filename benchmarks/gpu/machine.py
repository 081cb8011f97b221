"""Say in one line of JSON what this machine has: the device, the versions, which modules can be imported.

    python -m benchmarks.gpu.machine [MODULE …]

``missing`` says why there is no device to work on; it is empty where there is one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.unpack import stash

DISTRIBUTIONS = ("cupy-cuda12x", "cupy-cuda13x", "torch", "numpy", "cudf-cu12", "cudf-cu13", "cuml-cu12", "cuml-cu13",
                 "dask", "distributed", "pandas", "pyarrow", "curator_dask")  # fmt: skip

REASON_LENGTH = 120


def main() -> None:
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "boot": boot(),
        "versions": versions(),
        "pieces": pieces(),
        "modules": [name for name in sys.argv[1:] if importlib.util.find_spec(name)],
        **device(),
    }
    facts["told"] = in_words(facts)
    print(json.dumps(facts, ensure_ascii=False))


def boot() -> str:
    """A name for this start of this machine."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else platform.node()


def pieces() -> list[str]:
    """The parts of archives that were brought here, see `benchmarks.gpu.unpack`."""
    folder = stash() / "parts"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("part.*"))


def versions() -> dict[str, str]:
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def device() -> dict[str, Any]:
    """The name, the memory and the driver of the first device, or why there is none. Where CuPy is missing, torch is asked."""
    reasons = []
    for ask in (told_by_cupy, told_by_torch):
        try:
            name, free, total = ask()
        except Exception as error:
            reasons.append(f"{type(error).__name__}: {error}".splitlines()[0][:REASON_LENGTH])
        else:
            return {"device": name, "driver": driver(), "free_bytes": free, "total_bytes": total, "missing": ""}
    return {"missing": f"no device: {'; '.join(reasons)}"}


def told_by_cupy() -> tuple[str, int, int]:
    import cupy

    free, total = cupy.cuda.runtime.memGetInfo()
    return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()), int(free), int(total)


def told_by_torch() -> tuple[str, int, int]:
    import torch

    free, total = torch.cuda.mem_get_info()
    return str(torch.cuda.get_device_name(0)), int(free), int(total)


def driver() -> str:
    try:
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except Exception as error:
        return f"unknown ({type(error).__name__})"


def in_words(facts: dict[str, Any]) -> str:
    where = facts["missing"]
    if "device" in facts:
        free, total = (facts[name] / (1 << 30) for name in ("free_bytes", "total_bytes"))
        where = f"{facts['device']}; {free:.1f} of {total:.1f} GiB free; driver {facts['driver']}"
    listed = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return f"{where}; {platform.machine()}, {facts['cores']} cores; Python {facts['python']}; {listed}"


if __name__ == "__main__":
    main()
