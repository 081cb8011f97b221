"""The rendered sample videos with a quarter of the pixels, for tests whose time goes into cutting them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curator_dask.video.samples import HEIGHT, WIDTH, render_samples


def render_small_samples(folder: Path, **parameters: Any) -> None:
    """Like `render_samples`, in 320x180."""
    render_samples(folder, size=(WIDTH // 2, HEIGHT // 2), **parameters)
