from __future__ import annotations

import io
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_dask.errors import InputError
from curator_dask.export.samples import (
    CLIP_SCHEMA,
    MAX_MEDIA_BYTES,
    ClipRecord,
    clip_json,
    clip_json_bytes,
    clip_record,
    embedding_npy,
    embedding_npy_bytes,
    is_safe_key,
    member_key,
)

BARE = {"id": "a", "source_video": "film.mp4", "start_s": 0, "end_s": 10, "num_bytes": 100}


def test_a_bare_clip_has_every_field_and_no_null():
    assert clip_json(clip_record(BARE)) == {
        "id": "a",
        "source_video": "film.mp4",
        "start_s": 0.0,
        "end_s": 10.0,
        "num_bytes": 100,
        "width": -1,
        "height": -1,
        "framerate": 0.0,
        "num_frames": -1,
        "video_codec": "",
        "cosine_sim_score": 0.0,
        "max_id": "",
        "cluster": -1,
        "group": "",
    }


@pytest.mark.parametrize(
    ("field", "given", "written"),
    [
        ("start_s", 3, "3.0"),
        ("cosine_sim_score", None, "0.0"),
        ("cosine_sim_score", math.nan, "0.0"),
        ("framerate", math.inf, "0.0"),
        ("cosine_sim_score", np.float32(0.5), "0.5"),
        ("width", np.int64(640), "640"),
        ("width", 640.0, "640"),
        ("num_frames", None, "-1"),
        ("num_frames", math.nan, "-1"),
        ("max_id", None, '""'),
        ("max_id", math.nan, '""'),
        ("source_video", "caf\udce9.mp4", '"caf\\\\udce9.mp4"'),
        ("source_video", 'a"b\n.mp4', '"a\\"b\\n.mp4"'),
    ],
)
def test_values_become_the_fields_own_type(field, given, written):
    text = clip_json_bytes(clip_record({**BARE, field: given})).decode()
    assert f'"{field}": {written}' in text
    json.loads(text)["source_video"].encode("utf-8")


def test_a_record_built_by_hand_is_written_with_the_same_types():
    loose = ClipRecord("a", "film.mp4", 0, 10, 100, framerate=30)
    assert clip_json_bytes(loose) == clip_json_bytes(clip_record({**BARE, "framerate": 30.0}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ""}, "without an id"),
        ({"id": None}, "without an id"),
        ({"num_bytes": None}, "clip a: num_bytes (None) must be 1"),
        ({"num_bytes": 0}, "clip a: num_bytes (0) must be 1"),
        ({"num_bytes": MAX_MEDIA_BYTES + 1}, "num_bytes"),
        ({"width": "wide"}, "clip a: width is 'wide'"),
        ({"width": 1.5}, "clip a: width is 1.5"),
        ({"start_s": [1]}, "clip a: start_s is [1]"),
    ],
)
def test_a_value_that_cannot_be_meant_names_the_clip(changes, message):
    with pytest.raises(InputError, match=re.escape(message)):
        clip_record({**BARE, **changes})


@pytest.mark.parametrize(
    "clip_id",
    ["4baa6139-32a3-555a-a194-1726a40b3af9", "a", "A_b-9", "0" * 64],
    ids=["uuid", "short", "signs", "longest"],
)
def test_a_safe_id_is_its_own_key(clip_id):
    assert member_key(clip_id) == clip_id


@pytest.mark.parametrize(
    "clip_id",
    [
        "a.b",
        "../a",
        "/etc/passwd",
        "a/b",
        "__meta__",
        "_a",
        "-rf",
        "",
        "a b",
        "a\n",
        "é",
        "caf\udce9",
        "x" * 65,
        "C:\\a",
        "a\0",
    ],
)
def test_any_other_id_gets_a_safe_key_of_its_own(clip_id):
    key = member_key(clip_id)
    assert re.fullmatch("clip-[0-9a-f]{32}", key)
    assert key == member_key(clip_id) != member_key(clip_id + "x")


@given(st.text(max_size=100))
def test_keys_are_always_safe_and_stay_what_they_are(clip_id):
    key = member_key(clip_id)
    assert is_safe_key(key)
    assert "." not in key
    assert "/" not in key
    assert member_key(key) == key


@given(
    st.builds(
        ClipRecord,
        *(st.from_type(CLIP_SCHEMA[name]) for name in ("id", "source_video", "start_s", "end_s", "num_bytes")),
    )
)
def test_the_schema_never_changes(record):
    read = json.loads(clip_json_bytes(record))
    assert {name: type(value) for name, value in read.items()} == dict(CLIP_SCHEMA)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_embedding_is_float32_and_its_size_is_known_before(dtype):
    vector = np.linspace(-1, 1, 256).astype(dtype)
    data = embedding_npy(vector)
    read = np.load(io.BytesIO(data), allow_pickle=False)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, vector.astype(np.float32))
    assert len(data) == embedding_npy_bytes(256)
