"""Mark tests that need quick products of one-byte numbers."""

from __future__ import annotations

import pytest

from curator_dask.dedup.arrays.quick_products import are_quick
from tests.left_out import NO_QUICK_PRODUCTS

NEEDS_QUICK = pytest.mark.skipif(not are_quick(), reason=NO_QUICK_PRODUCTS)
