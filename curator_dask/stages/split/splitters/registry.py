"""Splitting algorithms by their names in ``--splitting-algorithm``. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from curator_dask.errors import ParameterError
from curator_dask.stages.split.splitters import content, fixed_stride, spans, transnetv2
from curator_dask.stages.split.splitters.base import MakeSplitter, Splitter, SplittingParameters

SPLITTERS: Mapping[str, MakeSplitter] = MappingProxyType(
    {"fixed_stride": fixed_stride.make, "transnetv2": transnetv2.make, "content": content.make, "spans": spans.make}
)


def make_splitter(name: str, parameters: SplittingParameters) -> Splitter:
    """Make the splitter called ``name``. Raises ParameterError for a bad name or value, ModelError for lacking weights."""
    if name not in SPLITTERS:
        raise ParameterError(f"splitting_algorithm {name!r} is not known; there are: {', '.join(SPLITTERS)}")
    return SPLITTERS[name](parameters)
