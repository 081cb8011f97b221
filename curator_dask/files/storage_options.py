"""``read_kwargs`` and ``write_kwargs``, as stages of the original workflow take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curator_dask.errors import ParameterError


def storage_options(kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The ``storage_options`` of ``read_kwargs`` or ``write_kwargs``; anything else in them is refused, not ignored."""
    unknown = set(kwargs or {}) - {"storage_options"}
    if unknown:
        raise ParameterError(f"read_kwargs and write_kwargs take storage_options, not {', '.join(sorted(unknown))}")
    return dict((kwargs or {}).get("storage_options") or {})
