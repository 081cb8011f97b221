"""Try a wheel: unpack it away from the source, compare its files, and do a whole run with it.

    python -m tools.try_wheel dist/curator_dask-*.whl

The packages that it needs are those of the Python that runs this.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def missing_files(wheel: Path) -> list[str]:
    """Files of the package in the source that the wheel lacks."""
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    own = [path for path in (ROOT / "curator_dask").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted({path.relative_to(ROOT).as_posix() for path in own} - held)


def try_run(wheel: Path, folder: Path) -> None:
    """Samples, a whole run and its check, with the code of the wheel.

    Raises:
        subprocess.CalledProcessError: A command failed.
    """
    installed = folder / "installed"
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(wheel.resolve())]
    subprocess.run([sys.executable, *pip], check=True)
    where = "import curator_dask, sys; sys.exit(not curator_dask.__file__.startswith(sys.argv[1]))"
    for arguments in (
        ("-c", where, str(installed)),
        ("-m", "curator_dask", "samples", "videos"),
        ("-m", "curator_dask", "run", "--video-dir", "videos", "--output-path", "out"),
        ("-m", "curator_dask", "verify", "out"),
    ):
        subprocess.run(
            [sys.executable, *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": str(installed)}, check=True
        )
    if not (folder / "out" / "report" / "index.html").is_file():
        raise SystemExit("the run of the wheel wrote no report")


def main() -> None:
    wheel = Path(sys.argv[1])
    missing = missing_files(wheel)
    if missing:
        raise SystemExit(f"{wheel} lacks {', '.join(missing)}: add them to package-data in pyproject.toml")
    with tempfile.TemporaryDirectory() as folder:
        try_run(wheel, Path(folder))
    print(f"{wheel} holds every file of the package, and a whole run with it went well")


if __name__ == "__main__":
    main()
