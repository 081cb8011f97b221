"""The rendered sample videos with a quarter of the pixels, for tests whose time goes into cutting them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curator_dask.video import samples


def render_small_samples(folder: Path, **parameters: Any) -> None:
    """Like `render_samples`, in 320x180."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "WIDTH", samples.WIDTH // 2)
        patch.setattr(samples, "HEIGHT", samples.HEIGHT // 2)
        samples.render_samples(folder, **parameters)
