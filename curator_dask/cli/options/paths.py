"""Options that name what a command reads, what it writes, and the columns in it."""

from __future__ import annotations

from typing import Annotated

from curator_dask.cli.options.declare import option

InputPath = Annotated[str, option("--input-path", help="Folder or URL to read.")]
OutputPath = Annotated[str, option("--output-path", help="Folder or URL to write to.")]
InputFiletype = Annotated[str, option("--input-filetype", help="Type of the input files: parquet, jsonl or tmk.")]
IdField = Annotated[str, option("--id-field", help="Column with the ids.")]
EmbeddingField = Annotated[str, option("--embedding-field", help="Column with the vectors.")]
EmbeddingDim = Annotated[
    int | None, option("--embedding-dim", help="Length of a vector. Default: the length of the first one.")
]
MetadataFields = Annotated[
    list[str] | None,
    option(
        "--metadata-fields",
        help="Another column to carry along, or the name in folders such as year=2024; may be repeated.",
    ),
]
ClipsPath = Annotated[
    str | None, option("--clips-path", help="Output of split: adds source video and times to the table.")
]
