"""Convert the released checkpoint of InternVideo2 to a safetensors file with only the tensors that embedding needs.

The file has 2.04 GB instead of 2.82, and workers map it into memory instead of unpickling it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from curator_dask.errors import ModelError, ParameterError
from curator_dask.files.folder import Folder
from curator_dask.models.internvideo2.network import NOT_NEEDED, make_empty, sizes_of
from curator_dask.models.local_folder import INSTALL, LocalFolder
from curator_dask.models.weights import open_weights, read_tensors, require_fit


@dataclass(frozen=True, slots=True)
class Converted:
    """The file that was written."""

    num_tensors: int
    num_bytes: int
    sha256: str
    """The hex digest of the file."""


def convert(source: Path, target: Path) -> Converted:
    """Write the tensors of `source` that embedding needs to `target`, a safetensors file. It never appears half-written.

    Numbers keep their type. The same source gives the same bytes; its digest is in the metadata. Raises ModelError if
    the source does not fit the network, ParameterError if the target has another suffix or is the source.
    """
    if target.suffix != ".safetensors":
        raise ParameterError(f"the target {target} must be named .safetensors, or it will not be found")
    if target.exists() and source.exists() and target.samefile(source):
        raise ParameterError(f"the target {target} is the source itself")
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise ModelError(f"this needs safetensors, which cannot be imported ({error}): {INSTALL}") from error
    with open_weights(source) as weights:
        # The numbers of heads do not change any shape, and 1 divides any width.
        network = make_empty(sizes_of(weights, num_heads=1, num_pool_heads=1))
        required = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        require_fit(weights, required, NOT_NEEDED)
        # There is only one entry, because the order of several would differ from run to run.
        metadata = {"source_sha256": str(_sha256(source))}
        with Folder(str(target.parent)).writing(target.name) as temporary:
            mode = temporary.stat().st_mode
            save_file(dict(read_tensors(weights, required)), temporary, metadata)
            temporary.chmod(mode)  # the library writes files that only their owner may read
    return Converted(len(required), target.stat().st_size, _sha256(target))


def _sha256(path: Path) -> str:
    return str(LocalFolder(path.parent).sha256(path.name)[path.name])
