"""One clip as a training sample: its record, the key in its members' names, and the bytes of the small members."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, get_type_hints

from curator_dask.dedup.quality.measure import COLUMNS, Quality
from curator_dask.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# No dot (loaders cut the key at the first one), no leading underscore (webdataset skips `__…__`), no path separator.
SAFE_KEY = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_SAFE_KEY = re.compile(SAFE_KEY)

MAX_MEDIA_BYTES = 8 * 1024**3 - 1
"""The largest member that a USTAR header can state (11 octal digits)."""


@dataclass(frozen=True, slots=True)
class ClipMetadata:
    """What a user's table says of one clip."""

    fields: str
    """The carried columns as one JSON object; all clips of a dataset have the same ones, null where nothing is known."""
    caption: str | None = None
    """The content of the ``.txt`` member; None if samples have none."""
    has_row: bool = True
    """Whether a row of the table names the clip."""


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """The metadata of one clip to export. The defaults mean "not known": loaders need one type per field and no nulls."""

    id: str
    source_video: str
    start_s: float
    end_s: float
    num_bytes: int
    width: int = -1
    height: int = -1
    framerate: float = 0.0
    num_frames: int = -1
    video_codec: str = ""
    cosine_sim_score: float = 0.0
    max_id: str = ""
    cluster: int = -1
    group: str = ""
    """The duplicate group that the clip belongs to; "" if none."""
    quality: Quality | None = None
    """What the pictures are like; None if that is known of no clip of the dataset."""
    metadata: ClipMetadata | None = None
    """What a user's table says; None if the export has no table."""


CLIP_SCHEMA: Mapping[str, type] = {
    field.name: get_type_hints(ClipRecord)[field.name]
    for field in fields(ClipRecord)
    if field.name not in ("quality", "metadata")
}
"""The type (``str``, ``int`` or ``float``) of each field: the schema of every ``.json`` member, in order."""
QUALITY_SCHEMA: Mapping[str, type] = dict.fromkeys(COLUMNS, float)
"""The fields that follow if the quality of any clip of the dataset is known."""
QUALITY_NOT_KNOWN = Quality(*(-1.0 for _ in COLUMNS))
"""Stands for a clip without quality among others that have it. No such number is below 0."""

METADATA = "metadata"
"""The field of a ``.json`` member that holds the columns of a user's table."""

_NOT_KNOWN: Mapping[type, Any] = {str: "", int: -1, float: 0.0}


def clip_record(values: Mapping[str, Any], quality: Quality | None = None) -> ClipRecord:
    """A record from a row of a table or a clip's metadata; ``None`` and NaN become "not known", other keys are ignored.

    Raises InputError, which names the clip, if the id or size is missing or a value has the wrong type.
    """
    name = str(values.get("id") or "")
    if not name:
        raise InputError(f"a clip without an id cannot be exported: source_video={values.get('source_video')!r}")
    plain = {field: _plain(name, field, values.get(field)) for field in CLIP_SCHEMA}
    if not 0 < plain["num_bytes"] <= MAX_MEDIA_BYTES:
        raise InputError(
            f"clip {name}: num_bytes ({values.get('num_bytes')!r}) must be 1 to {MAX_MEDIA_BYTES} (a tar's limit)"
        )
    return ClipRecord(**plain, quality=quality)


def clip_json(record: ClipRecord) -> dict[str, Any]:
    """The ``.json`` member of a clip: the fields of ClipRecord, always all of them, always with the same types.

    The columns of a user's table are one object, ``metadata``, so that no name of theirs meets one of ours.
    """
    known = {field: _plain(record.id, field, getattr(record, field)) for field in CLIP_SCHEMA}
    quality = asdict(record.quality) if record.quality is not None else {}
    carried = json.loads(record.metadata.fields) if record.metadata is not None else {}
    return {**known, **quality, **({METADATA: carried} if carried else {})}


def json_fields(carried: Mapping[str, str], *, with_quality: bool) -> dict[str, Any]:
    """The fields of every ``.json`` member of a dataset with their types as text, `carried` columns of a table as an object."""
    kinds = {**CLIP_SCHEMA, **(QUALITY_SCHEMA if with_quality else {})}
    own: dict[str, Any] = {name: kind.__name__ for name, kind in kinds.items()}
    return {**own, METADATA: dict(carried)} if carried else own


def record_inputs(record: ClipRecord) -> dict[str, Any]:
    """The fields of a record as inputs of a unit; without quality and metadata, they are those of earlier versions."""
    own = {name: getattr(record, name) for name in CLIP_SCHEMA}  # `asdict` of the record would copy each value, slowly
    later = {"quality": record.quality, "metadata": record.metadata}
    return {**own, **{name: asdict(value) for name, value in later.items() if value is not None}}


def caption_bytes(record: ClipRecord) -> bytes:
    """The ``.txt`` member of a clip."""
    return ((record.metadata.caption if record.metadata is not None else "") or "").encode("utf-8", "backslashreplace")


def clip_json_bytes(record: ClipRecord) -> bytes:
    """`clip_json` as ASCII JSON text; equal records give equal bytes."""
    return json.dumps(clip_json(record), allow_nan=False).encode("ascii")


def member_key(clip_id: str) -> str:
    """The sample key of a clip: its id if that is safe in every loader (a UUID is), else a digest of the id.

    >>> member_key("4baa6139-32a3-555a-a194-1726a40b3af9")
    '4baa6139-32a3-555a-a194-1726a40b3af9'
    >>> member_key("../../etc/passwd")
    'clip-3754d6cb3a38e1185e5b382d5f3ef3f1'
    """
    if _SAFE_KEY.fullmatch(clip_id):
        return clip_id
    return "clip-" + hashlib.sha256(clip_id.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def is_safe_key(key: str) -> bool:
    """Whether members may be named by ``key``; the result of `member_key` always qualifies."""
    return _SAFE_KEY.fullmatch(key) is not None


def plain_text(text: str) -> str:
    """``text`` without lone surrogates, which stand for undecodable bytes in file names and break UTF-8 readers."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def embedding_npy(vector: NDArray[np.floating[Any]]) -> bytes:
    """The ``.npy`` member of a clip: its vector ``(D,)`` as little-endian float32."""
    import numpy as np

    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(vector, dtype="<f4"), version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def embedding_npy_bytes(dimensions: int) -> int:
    """The size of `embedding_npy` in bytes for a vector of ``dimensions`` numbers."""
    import numpy as np

    return len(embedding_npy(np.zeros(dimensions, np.float32)))


def _plain(clip_id: str, field: str, value: Any) -> Any:
    """``value`` as the field's own Python type; None, NaN and infinities become the field's "not known"."""
    kind = CLIP_SCHEMA[field]
    try:
        if value is None or (kind is not str and not math.isfinite(value)) or value != value:
            return _NOT_KNOWN[kind]
        if kind is str:
            return plain_text(str(value))
        plain = kind(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"clip {clip_id}: {field} is {value!r}, which is not of type {kind.__name__}") from error
    if plain != value:
        raise InputError(f"clip {clip_id}: {field} is {value!r}, which is not a whole number")
    return plain
