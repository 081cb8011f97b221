"""The clips of an output that are most similar to one of them, or to a file of yours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator_dask.data.similar.nearest import nearest_rows, vector_of
from curator_dask.errors import InputError, ParameterError
from curator_dask.keywords import with_suggestions

if TYPE_CHECKING:
    from numpy.typing import NDArray


@with_suggestions
def similar_clips(
    out: str,
    clip: str,
    top: int = 10,
    *,
    exact: bool = False,
    embedding_algorithm: str | None = None,
    model_dir: str = "./models",
    trust_remote_code: bool = False,
    model_settings: Mapping[str, Any] | Sequence[str] | None = None,
) -> list[tuple[str, float]]:
    """The `top` clips whose vectors have the highest cosine with that of `clip`, highest first, ties by id.

    Args:
        out: the output folder of ``run``, on this machine; its ``kmeans`` folder holds unit vectors.
        clip: the id of a clip of this output, or the path of a video or picture. A file is embedded as one clip, by
            the model that made the vectors. The clip itself is not in the result; a file that is also a clip is.
        top: how many clips, at least 1.
        exact: search all clusters. Otherwise, where there are more than 100, the nearest 15 of 100 and at least 100 of
            them are searched: with a million planted rows, these held the true top 10 (benchmarks/results).
        embedding_algorithm: for a file: the model's name, where the output does not say it (``hf:FOLDER``, ``cosmos-…``).
        model_dir: for a file: folder with the weights of the models.
        trust_remote_code: for a file: allow Python code from the model's folder to run.
        model_settings: for a file: settings of the model that were given for OUT, as a mapping or as texts ``NAME=VALUE``.

    Raises:
        ParameterError: `top` is below 1, or the output does not say which model made its vectors.
        InputError: there are no clustered vectors, none of this id, or the file gives no usable vector.
    """
    if top < 1:
        raise ParameterError(f"top is {top}; it must be at least 1")
    if Path(clip).is_file():
        from curator_dask.similar.one_file import ModelChoice, vector_of_file

        choice = ModelChoice(embedding_algorithm, model_dir, trust_remote_code, model_settings)
        wanted = vector_of_file(Path(clip), out, choice)
        return nearest_rows(out, wanted, top, exact=exact)
    return nearest_rows(out, _vector_of_clip(out, clip), top, but=clip, exact=exact)


def _vector_of_clip(out: str, clip: str) -> NDArray[Any]:
    wanted = vector_of(out, clip)
    if wanted is None:
        raise InputError(
            f"no clip {clip!r} has a vector in {out}, and no file has this name: a plain or failed clip has none; see "
            "clips.parquet for ids"
        )
    return wanted
