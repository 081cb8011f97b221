"""Options that say which model makes the vectors, and how it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from curator_dask.cli.options.declare import options_in
from curator_dask.cli.options.panels import EMBEDDING

option = options_in(EMBEDDING)


def _complete_models(incomplete: str) -> list[str]:
    from curator_dask.models.registry import model_names

    return [name for name in model_names() if name.startswith(incomplete)]


EmbeddingAlgorithm = Annotated[
    str,
    option(
        "--embedding-algorithm",
        metavar="MODEL",
        autocompletion=_complete_models,
        help="Embedding model: one that `curator-dask models list` shows, or hf:FOLDER or onnx:FILE for another one.",
    ),
]
FrameSampling = Annotated[
    str,
    option(
        "--frame-sampling",
        values=("uniform", "prefix"),
        help="Frames that the model sees. uniform: spread over the whole clip; prefix: from its start, as older "
        "vectors were made.",
    ),
]
FramesFrom = Annotated[
    str,
    option(
        "--frames-from",
        values=("auto", "clips", "source"),
        help="Where frames are decoded from. source: the videos, which are decoded once for clips and vectors.",
    ),
]
Dtype = Annotated[
    str,
    option(
        "--dtype",
        values=("auto", "float32", "bfloat16", "float16"),
        help="Number type that a network computes in.",
    ),
]
TorchDevice = Annotated[
    str,
    option(
        "--torch-device",
        help="Where the embedding model runs: auto (on a GPU if workers have one), cpu, cuda or cuda:1.",
    ),
]
TrustRemoteCode = Annotated[
    bool, option("--trust-remote-code", help="Allow Python code from the model's folder to run.")
]
ModelSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--model-setting",
        rich_help_panel=EMBEDDING,
        metavar="<str>",
        help="NAME=VALUE for the model, such as size=224; goes over FILE.yaml of onnx:FILE. May be repeated.",
    ),
]
DecodeThreads = Annotated[
    int | None,
    option(
        "--decode-threads",
        help="Clips decoded at the same time, ahead of the model. Default: 1; with a GPU, its share of the cores.",
    ),
]
Tracks = Annotated[
    bool,
    option(
        "--tracks/--no-tracks",
        help="Write a track beside each vector: what the clip shows every half second, under 200 bytes per second.",
    ),
]
GenerateEmbeddings = Annotated[
    bool, option("--generate-embeddings/--no-generate-embeddings", help="Compute vectors, or only split.")
]
SourceVideoDir = Annotated[
    str | None, option("--video-dir", help="The source videos; needed if split wrote no clips (--no-upload-clips).")
]
NumClips = Annotated[int, option("--num-clips", help="Number of clips to edit and compare.")]
KnownDuplicates = Annotated[
    Path | None,
    option("--known-duplicates", help="CSV file: one line per group of source videos that show the same thing."),
]


@dataclass(frozen=True)
class EmbeddingOptions:
    """The embedding model and how it runs."""

    embedding_algorithm: EmbeddingAlgorithm = "pdqf_tmk_nobars"
    frame_sampling: FrameSampling = "uniform"
    frames_from: FramesFrom = "auto"
    dtype: Dtype = "auto"
    torch_device: TorchDevice = "auto"
    trust_remote_code: TrustRemoteCode = False
    model_settings: ModelSettings = None
    decode_threads: DecodeThreads = None
    tracks: Tracks = True
