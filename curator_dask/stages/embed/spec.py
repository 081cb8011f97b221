"""What the workers of the embed stage are told."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from curator_dask.files.folder import Folder
from curator_dask.models.base import ModelOptions
from curator_dask.models.registry import ModelFactory, adopt_model
from curator_dask.stages.embed.cut_tracks import TracksOfCut
from curator_dask.video.spans import Span

if TYPE_CHECKING:
    from curator_dask.models.base import EmbeddingModel

EMBED = "embed"
"""The stage's name in records and folders."""


@dataclass(frozen=True)
class ModelSpec:
    """An embedding model, with all that another process needs to load it."""

    name: str
    options: ModelOptions
    """Its paths are absolute: a worker may run in another folder."""
    factory: ModelFactory | None = field(default=None, repr=False, compare=False)
    """Makes a model that the user registered; None for every model that the registry of another process knows too."""

    def load(self) -> EmbeddingModel:
        """The model, loaded once per process."""
        if self.factory is not None:
            adopt_model(self.name, self.factory)
        return cached_model(self.name, self.options)


@functools.lru_cache(maxsize=1)
def cached_model(name: str, options: ModelOptions) -> EmbeddingModel:
    """The model that was loaded last; another name or other options replace it."""
    from curator_dask.models.registry import load_model

    return load_model(name, options)


@dataclass(frozen=True)
class EmbedSpec:
    """How clips become vectors: the folders, the model, and where the frames come from."""

    input: Folder
    """The output of the split stage, or a folder of ready clips."""
    output: Folder
    """Receives the files of vectors."""
    videos: Folder | None
    """The source videos as the user named them: a folder, one file or a glob. None: not named."""
    model: ModelSpec
    id_field: str
    embedding_field: str
    decode_threads: int | None
    reads_source: bool
    """Frames come from the source videos, even if there are clip files."""
    tracks: bool
    """Each clip gets a track beside its vector."""


@dataclass(frozen=True, slots=True)
class ClipToEmbed:
    """One clip and the place where its frames come from. These fields are part of the digest of a unit's inputs."""

    id: str
    path: str
    """Clip file relative to the input folder; empty: decode the span from the source video."""
    trusted: bool
    """True if this project encoded the file: Decord reads such files only."""
    source: str
    """Source video, relative to the folder of the videos."""
    span_index: int
    start_s: float
    end_s: float

    @property
    def span(self) -> Span:
        return Span(self.span_index, self.start_s, self.end_s)


@dataclass(frozen=True)
class EmbedTask:
    """One unit: some clips of one video, or of a folder of ready clips."""

    spec: EmbedSpec
    key: str
    """Key of the unit; it names the Parquet file."""
    clips: tuple[ClipToEmbed, ...]
    source_spans: tuple[Span, ...] = ()
    """All spans planned for the video, if frames come from it. Failed clips are included, as the end of a span depends on
    its neighbours."""
    max_hold_s: float | None = None
    """The limit with which the clips were cut, as in `video.pauses`; only frames from the source depend on it."""
    of_cut: TracksOfCut | None = None
    """Where the cut may have left the tracks; None: nowhere."""
    aside: frozenset[str] = frozenset()
    """The ids of clips that are not embedded now, as a worker died of them."""

    @property
    def num_clips(self) -> int:
        return len(self.clips)

    @property
    def from_source(self) -> bool:
        """Whether the frames come from one pass over the source video."""
        return bool(self.source_spans)

    def whole(self) -> EmbedTask:
        """This task, which has its clips; see `units.ListedTask`."""
        return self

    def without(self, clips: frozenset[str]) -> EmbedTask:
        """The same task with these clips set aside."""
        return replace(self, aside=clips)

    def to_read(self) -> EmbedTask:
        """The task of the clips whose frames are wanted."""
        return replace(self, clips=tuple(clip for clip in self.clips if clip.id not in self.aside))
