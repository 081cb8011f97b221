"""Options that name what a command reads, what it writes, and the columns in it."""

from __future__ import annotations

from typing import Annotated

from curator_dask.cli.options.declare import options_in
from curator_dask.cli.options.panels import INPUT

option = options_in(INPUT)

ClipsToRead = Annotated[
    str, option("--input-path", help="Folder or URL to read: the output of split, or any folder of clips.")
]
SplitToRead = Annotated[str, option("--input-path", help="Folder or URL to read: the output of split.")]
VectorsToRead = Annotated[str, option("--input-path", help="Folder or URL to read: the files with the vectors.")]
KMeansToRead = Annotated[str, option("--input-path", help="Folder or URL to read: the output of kmeans.")]
PairwiseToRead = Annotated[str, option("--input-path", help="Folder or URL to read: the output of pairwise.")]
OutputPathOrInput = Annotated[
    str | None,
    option("--output-path", help="Folder or URL that the folder of vectors is written to. Default: --input-path."),
]
OutputPath = Annotated[str, option("--output-path", help="Folder or URL to write to.")]
OutputPathOrSweep = Annotated[
    str, option("--output-path", help="Folder or URL to write to. Needed unless --sweep is given.")
]
InputFiletype = Annotated[
    str, option("--input-filetype", values=("parquet", "jsonl", "tmk"), help="Type of the input files.")
]
IdField = Annotated[str, option("--id-field", help="Column with the ids.")]
EmbeddingField = Annotated[str, option("--embedding-field", help="Column with the vectors.")]
EmbeddingDim = Annotated[
    int | None, option("--embedding-dim", help="Length of a vector. Default: the length of the first one.")
]
InputFileExtensions = Annotated[
    list[str] | None,
    option(
        "--input-file-extensions",
        metavar="<str>",
        help="Read only files with this ending, such as .pq; may be repeated. Default: all that the type usually has.",
    ),
]
MetadataFields = Annotated[
    list[str] | None,
    option(
        "--metadata-fields",
        metavar="<str>",
        help="Another column to copy to the clusters, or the name in folders such as year=2024; may be repeated.",
    ),
]
ClipsPath = Annotated[
    str | None, option("--clips-path", help="Output of split: adds source video and times to the table.")
]
RankingClipsPath = Annotated[
    str | None, option("--clips-path", help="Output of split: columns for --keep that kmeans did not copy.")
]
NewClipsPath = Annotated[
    str | None,
    option("--clips-path", help="Output of split: adds source video and times to the table, and columns for --keep."),
]
