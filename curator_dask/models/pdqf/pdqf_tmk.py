"""PDQF frame descriptors, averaged over time. They need no weights and no download, and are the same bits everywhere.

The default model is ``pdqf_tmk_nobars``: it cuts plain bars off the picture and goes on as ``pdqf_tmk``.

The models follow ThreatExchange's TMK+PDQF, which averages the PDQF of all frames at 15 frames per second.
``pdqf_tmk_level1`` is that average, 256 numbers; its cosines compare with published TMK level-1 scores. ``pdqf_tmk`` is
finer:

1. It takes the signed square root of each frame's PDQF, scaled to unit length, so that no frame and no frequency
   dominates.
2. It averages these over each of four equal parts of the clip, and scales each mean to unit length.
3. It joins the four means to 1024 numbers, scaled to unit length.

So it knows the order of time, and unrelated clips have a cosine near 0. It does not find copies that are mirrored,
rotated, shown picture in picture, or cropped by more than a tenth per side.

All sums are exact, because they run over whole multiples of a power of two (see :mod:`curator_dask.models.pdqf.pdq`): a
clip's vector does not depend on its neighbours in the batch, on threads, or on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from curator_dask.errors import ParameterError
from curator_dask.models.base import JSON, Frames, ModelOptions, Unusable, Vector
from curator_dask.models.device import device_of
from curator_dask.models.pdqf import pdq
from curator_dask.models.pdqf.letterbox import without_bars
from curator_dask.models.pdqf.track import Track, track_of_frames
from curator_dask.video.frames.sampling import FrameRule

if TYPE_CHECKING:
    import torch

ALGORITHM_VERSION = 1
"""Raise this number with any change to the vectors."""
RATE_FPS = 15.0
NUM_SEGMENTS = 4
MIN_QUALITY = 50
"""PDQ advises this limit: frames of lower quality are too plain to be told apart."""
SEGMENTS_EPS = 0.65
"""Measured on 32 clips of 4 s from 13 real videos, each edited in 14 ways (``benchmarks/near_duplicates.py`` measures
the same way). At cosine .35, 99 % of light edits are found, and 97 % of logos, banners and 5 % crops; clips of different
content reach at most .21. With a still camera, any two moments of a video count as duplicates."""
LEVEL1_EPS = 0.2
"""Measured on the same clips: cosines of light edits are at least .98, of crops .52 to .99, of different videos up to .58.
No limit separates crops from different videos."""
_SHARE_STEP = 2.0**-30  # the sum over up to 2**22 frames of shares within 1 is exact
_UNIT_STEP = 2.0**-22  # a square has 44 bits, and a sum of 256 squares at most 53


@dataclass(frozen=True)
class _Described:
    """The frames of several clips, one after the other, and what is computed of each frame."""

    frames: torch.Tensor
    """(N, 64, 64, 3) uint8 RGB."""
    descriptors: pdq.Descriptors
    lengths: list[int]
    """The number of frames of each clip."""

    def tracks(self) -> list[Track]:
        import torch

        rows = (self.descriptors.pdqf, self.descriptors.quality, self.frames)
        parts = zip(*(torch.split_with_sizes(one, self.lengths) for one in rows), strict=True)
        return [track_of_frames(pdq.Descriptors(pdqf, quality), pdq.luma(frames)) for pdqf, quality, frames in parts]


class PdqfTmk:
    """The three models: 4 segments with signed square roots per frame, the same after cutting bars off, and level 1."""

    def __init__(
        self,
        name: str,
        *,
        num_segments: int,
        signed_sqrt: bool,
        default_eps: float,
        device: str,
        cuts_bars: bool = False,
    ) -> None:
        self.name = name
        self.dimension = num_segments * pdq.DIMENSION
        self.frame_rule = FrameRule.rate(RATE_FPS, width=pdq.SIDE, height=pdq.SIDE)
        self.default_eps = default_eps
        self.light = True
        self._num_segments = num_segments
        self._signed_sqrt = signed_sqrt
        self._cuts_bars = cuts_bars
        self._device = device_of(device)

    def fingerprint(self) -> dict[str, JSON]:
        """See :class:`~curator_dask.models.base.EmbeddingModel`."""
        return {
            "model": self.name,
            "weights": "none",
            "dimension": self.dimension,
            "dtype": "float32",
            "frame_rule": dict(self.frame_rule.describe()),
            "num_segments": self._num_segments,
            "min_quality": MIN_QUALITY,
            "algorithm_version": ALGORITHM_VERSION,
            **({"bars": "cut off"} if self._cuts_bars else {}),
        }

    def embed(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        """Make (256 * segments,) float32 unit vectors from clips of (T, 64, 64, 3) uint8 frames, T >= 1.

        A clip is unusable if no frame has quality 50 (``low-quality``: black, blank, faded), or if its frames have no
        descriptor or cancel out (``no-texture``).
        """
        return self._vectors(self._describe(clips)) if clips else []

    def _describe(self, clips: Sequence[Frames]) -> _Described:
        import torch

        _require_clips(clips)
        if self._cuts_bars:
            clips = [without_bars(clip) for clip in clips]
        frames = torch.from_numpy(np.concatenate(clips)).to(self._device)
        return _Described(frames, pdq.describe_frames(frames), [len(clip) for clip in clips])

    def _vectors(self, described: _Described) -> list[Vector | Unusable]:
        import torch

        descriptors, lengths = described.descriptors, described.lengths
        best = [int(part.max()) for part in torch.split_with_sizes(descriptors.quality, lengths)]
        means = _segment_means(self._frame_features(descriptors.pdqf), lengths, self._num_segments)
        vectors = join_segments(means).cpu().numpy().astype(np.float32)
        return [_vector_or_reason(vector, quality) for vector, quality in zip(vectors, best, strict=True)]

    def _frame_features(self, descriptors: torch.Tensor) -> torch.Tensor:
        """(N, 256) rows to average. Rows without texture are set to 0, or rounding noise would count as a picture."""
        features = signed_sqrt_unit(descriptors) if self._signed_sqrt else descriptors
        return features * pdq.has_texture(descriptors)[:, None]


class PdqfTmkWithoutBars(PdqfTmk):
    """The default model. What it computes of each frame is what a track needs, so it gives both at once."""

    def embed_with_tracks(self, clips: Sequence[Frames]) -> list[tuple[Vector | Unusable, Track]]:
        """The vectors that :meth:`embed` gives, each with the track of its clip; a clip without a vector has one too."""
        if not clips:
            return []
        described = self._describe(clips)
        return list(zip(self._vectors(described), described.tracks(), strict=True))


Model = TypeVar("Model", bound=PdqfTmk)


def load_segments(options: ModelOptions) -> PdqfTmk:
    """Load ``pdqf_tmk``: 1024 numbers. Only the device of the options matters; there are no weights."""
    return _load("pdqf_tmk", options, PdqfTmk, num_segments=NUM_SEGMENTS, signed_sqrt=True, default_eps=SEGMENTS_EPS)


def load_without_bars(options: ModelOptions) -> PdqfTmkWithoutBars:
    """Load ``pdqf_tmk_nobars``: ``pdqf_tmk`` after plain bars (letterbox, pillarbox) are cut off the pictures."""
    return _load(
        "pdqf_tmk_nobars",
        options,
        PdqfTmkWithoutBars,
        num_segments=NUM_SEGMENTS,
        signed_sqrt=True,
        default_eps=SEGMENTS_EPS,
        cuts_bars=True,
    )


def load_level1(options: ModelOptions) -> PdqfTmk:
    """Load ``pdqf_tmk_level1``: 256 numbers. Only the device of the options matters; there are no weights."""
    return _load("pdqf_tmk_level1", options, PdqfTmk, num_segments=1, signed_sqrt=False, default_eps=LEVEL1_EPS)


def _load(name: str, options: ModelOptions, kind: type[Model], **parameters: Any) -> Model:
    if options.frame_sampling == "prefix":
        raise ParameterError(f"{name} looks at the whole clip, so frame_sampling cannot be 'prefix'")
    if options.dtype not in ("auto", "float32"):
        raise ParameterError(f"{name} computes in whole numbers, so dtype cannot be {options.dtype!r}")
    return kind(name, device=options.device, **parameters)


def signed_sqrt_unit(pdqf: torch.Tensor) -> torch.Tensor:
    """(N, 256) float64 ``sign(x) sqrt|x|`` of PDQF rows, scaled to unit length; rows of zeros stay zeros."""
    # The squared length of the roots is the sum of |x|, which is exact. Each share is then rounded to a fixed step.
    sizes = pdqf.abs()
    shares = (sizes / sizes.sum(dim=1, keepdim=True).clamp(min=pdq.PDQF_STEP)).sqrt().copysign(pdqf)
    return (shares / _SHARE_STEP).round() * _SHARE_STEP


def segment_of_frames(num_frames: int, num_segments: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide frames into consecutive segments of nearly equal length, the first ones longer.

    Returns (m,) frame indices and the (m,) segment of each. With fewer frames than segments, each segment takes the
    frame at its middle, so a frame can come up in several.

    >>> frames, segments = segment_of_frames(10, 4)
    >>> frames.tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    >>> segments.tolist()
    [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    >>> frames, segments = segment_of_frames(2, 4)
    >>> frames.tolist(), segments.tolist()
    ([0, 0, 1, 1], [0, 1, 2, 3])
    """
    if num_frames < num_segments:
        segments = np.arange(num_segments)
        return (2 * segments + 1) * num_frames // (2 * num_segments), segments
    parts = np.array_split(np.arange(num_frames), num_segments)
    return np.arange(num_frames), np.repeat(np.arange(num_segments), [len(part) for part in parts])


def join_segments(segments: torch.Tensor) -> torch.Tensor:
    """Join (N, S, 256) float64 segments to (N, S * 256) rows: scale each segment to unit length, then each row.

    A segment of zeros stays zeros, and so does a row of such segments only.
    """
    units = _unit_rows(segments)
    num_filled = (units != 0).any(dim=2).sum(dim=1)
    return units.flatten(1) / num_filled.clamp(min=1).to(units.dtype).sqrt()[:, None]


def _segment_means(features: torch.Tensor, lengths: Sequence[int], num_segments: int) -> torch.Tensor:
    """(clips, segments, 256) means of the rows of ``features``, which holds the frames of clip after clip."""
    import torch

    parts = [segment_of_frames(length, num_segments) for length in lengths]
    firsts = np.cumsum([0, *lengths[:-1]])
    rows = np.concatenate([frame + first for (frame, _), first in zip(parts, firsts, strict=True)])
    slots = np.concatenate([segment + num_segments * clip for clip, (_, segment) in enumerate(parts)])
    num_slots = num_segments * len(lengths)
    rows_at, slots_at = (torch.from_numpy(index).to(features.device) for index in (rows, slots))
    sums = torch.zeros(num_slots, pdq.DIMENSION, dtype=features.dtype, device=features.device)
    sums.index_add_(0, slots_at, features[rows_at])
    counts = torch.bincount(slots_at, minlength=num_slots)
    return (sums / counts[:, None]).reshape(len(lengths), num_segments, pdq.DIMENSION)


def _unit_rows(rows: torch.Tensor) -> torch.Tensor:
    """Scale ``rows`` (..., 256) float64 to unit length. Zeros stay zeros; the sum for the length is exact."""
    import torch

    largest = rows.abs().amax(dim=-1, keepdim=True)
    scaled = rows / torch.where(largest > 0, largest, 1.0)
    length = ((scaled / _UNIT_STEP).round() * _UNIT_STEP).square().sum(dim=-1, keepdim=True).sqrt()
    return scaled / torch.where(length > 0, length, 1.0)


def _vector_or_reason(vector: Vector, best_quality: int) -> Vector | Unusable:
    if best_quality < MIN_QUALITY:
        return Unusable(
            "low-quality",
            f"the best frame has a PDQ quality of {best_quality}, below {MIN_QUALITY}: too plain to match",
        )
    if not vector.any():
        return Unusable("no-texture", "the frames have no texture in both directions, or cancel each other out")
    return vector


def _require_clips(clips: Sequence[Frames]) -> None:
    for clip in clips:
        if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[1:] != (pdq.SIDE, pdq.SIDE, 3) or len(clip) == 0:
            raise ParameterError(f"a clip must be (T, 64, 64, 3) uint8 with T >= 1, not {clip.shape} {clip.dtype}")
