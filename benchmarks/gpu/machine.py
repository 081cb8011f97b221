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
    """The name, the memory and the driver of the first device, or why there is none."""
    try:
        import cupy
        import pynvml

        pynvml.nvmlInit()
        name = str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())
        free, total = cupy.cuda.runtime.memGetInfo()
        driver = pynvml.nvmlSystemGetDriverVersion()
    except Exception as error:
        return {"missing": f"no device: {type(error).__name__}: {error}".splitlines()[0]}
    return {"device": name, "driver": driver, "free_bytes": int(free), "total_bytes": int(total), "missing": ""}


def in_words(facts: dict[str, Any]) -> str:
    where = f"{facts['device']}; driver {facts['driver']}" if "device" in facts else facts["missing"]
    listed = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return f"{where}; {platform.machine()}, {facts['cores']} cores; Python {facts['python']}; {listed}"


if __name__ == "__main__":
    main()
