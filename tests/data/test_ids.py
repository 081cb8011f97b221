"""Ids: plain values of every type, one type for several files, and text that tells all ids apart."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_dask.data.ids import id_list, id_text, id_texts, one_type, plain_ids, sorted_texts, stored
from curator_dask.errors import InputError

SIXTEEN = [bytes(range(16)), b"\0" * 16]


def uuid_array() -> pa.Array:
    return pa.array(SIXTEEN, pa.binary(16)).cast(pa.uuid())


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (pa.array([2**64 - 1], pa.uint64()), pa.uint64()),
        (pa.array(["a"], pa.large_string()), pa.large_string()),
        (pa.array(["a"], pa.string_view()), pa.string()),
        (pa.array([b"a"], pa.binary_view()), pa.binary()),
        (pa.array([b"a\0"], pa.large_binary()), pa.large_binary()),
        (pa.array([b"ab"], pa.binary(2)), pa.binary(2)),
        (pa.array(["a", "b"]).dictionary_encode(), pa.string()),
        (pa.array([b"a", b"b"]).dictionary_encode(), pa.binary()),
        (pa.array([5, 6], pa.uint64()).dictionary_encode(), pa.uint64()),
        (uuid_array(), pa.uuid()),
    ],
    ids=str,
)
def test_a_type_is_kept_but_for_how_values_are_stored(ids, kind):
    for given_ids in (ids, pa.chunked_array([ids, ids])):
        plain = plain_ids(given_ids)
        assert plain.type == kind
        assert plain.to_pylist() == given_ids.to_pylist()
    assert pa.array(id_list(plain_ids(ids)), stored(plain_ids(ids)).type) == stored(plain_ids(ids))


@pytest.mark.parametrize("ids", [pa.array([1.5]), pa.array([True]), pa.array([[1]]), pa.array([{"a": 1}])], ids=str)
def test_other_values_are_refused(ids):
    with pytest.raises(InputError, match="cast the column to integers or strings, or name another one as id_field"):
        plain_ids(ids)


@pytest.mark.parametrize(
    ("arrays", "kind"),
    [
        ((pa.array([1], pa.uint8()), pa.array([2**63], pa.uint64())), pa.uint64()),
        ((pa.array([1], pa.uint8()), pa.array([2], pa.int8())), pa.int64()),
        ((pa.array(["a"], pa.string_view()), pa.array(["a"]).dictionary_encode()), pa.string()),
        ((uuid_array(), uuid_array()), pa.uuid()),
        ((uuid_array(), pa.array(SIXTEEN, pa.binary(16))), pa.binary(16)),
        ((uuid_array(), pa.array([b"a"])), pa.binary()),
        ((pa.array([b"a"], pa.binary(1)), pa.array([b"ab"], pa.binary(2))), pa.binary()),
        ((pa.nulls(2), uuid_array()), pa.uuid()),
    ],
    ids=lambda one: str(one) if isinstance(one, pa.DataType) else " and ".join(str(array.type) for array in one),
)
def test_ids_of_several_files_get_one_type(arrays, kind):
    found = one_type(arrays)
    assert [array.type for array in found] == [kind] * len(arrays)
    assert [id_list(array) for array in found] == [id_list(plain_ids(array)) for array in arrays]


def test_mixtures_are_refused():
    for other in (pa.array(["a"]), pa.array([1])):
        with pytest.raises(InputError, match="one of the three in all files; found"):
            one_type([pa.array([b"a"]), other])


@given(st.lists(st.binary(max_size=20), unique=True))
def test_the_text_of_bytes_tells_them_apart_and_leads_back(values):
    found = [id_text(value) for value in values]
    assert [
        uuid.UUID(text).bytes if len(text) == 36 and "-" in text else bytes.fromhex(text) for text in found
    ] == values
    assert id_texts(pa.chunked_array([values], pa.binary())).to_pylist() == found


def test_texts_of_a_column():
    assert id_texts(pa.chunked_array([pa.array([2**64 - 1, None], pa.uint64())])).to_pylist() == [str(2**64 - 1), None]
    assert id_texts(pa.chunked_array([uuid_array()])).to_pylist() == [str(uuid.UUID(bytes=one)) for one in SIXTEEN]
    assert id_texts(pa.chunked_array([], pa.binary())).to_pylist() == []


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [""],
        ["one"],
        ["same"] * 5,
        ["", "a", "a\0", "a\0\0", "ab", "\0"],
        [f"clip-{number * 7919 % 1000:08d}" for number in range(1000)],
        [f"a/folder/with/a/long/name/{number % 100:05d}.mp4#{number * 31 % 40}" for number in range(1000)],
        [str(uuid.UUID(int=number**9)) for number in range(500)],
        ["ä", "z", "é", "漢字", "a", "😀", "\uffff"],
    ],
)
def test_texts_are_sorted_by_their_bytes(texts):
    found = sorted_texts(pa.array(["left out", *texts], pa.large_string()).slice(1))
    assert found.to_pylist() == sorted(texts, key=str.encode)


def test_bytes_that_are_no_text_are_sorted_too():
    texts = pa.array([b"\xff\xfe", b"\xff", b"a"], pa.large_binary()).view(pa.large_string())
    assert sorted_texts(texts).cast(pa.large_binary()).to_pylist() == [b"a", b"\xff", b"\xff\xfe"]
