"""Arrow columns of vectors ↔ matrices."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curator_dask.data.vectors import NULL, WRONG_DIMENSION, column_matrix, matrix_column, vector_length
from curator_dask.errors import InputError

FLOATS = {"half": pa.float16(), "float": pa.float32(), "double": pa.float64()}
LISTS = {
    "list": lambda value: pa.list_(value),
    "large_list": lambda value: pa.large_list(value),
    "fixed_size_list": lambda value: pa.list_(value, 3),
}
ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [-1.0, 0.5, 0.25], [7.0, 8.0, 9.0]]


def column(rows, value: str = "float", lists: str = "list") -> pa.Array:
    numpy = FLOATS[value].to_pandas_dtype()
    typed = [row if row is None else [None if x is None else numpy(x) for x in row] for row in rows]
    return pa.array(typed, LISTS[lists](FLOATS[value]))


def address(X: np.ndarray) -> int:
    return X.__array_interface__["data"][0]


@pytest.mark.parametrize("value", FLOATS)
@pytest.mark.parametrize("lists", LISTS)
class TestEveryType:
    def test_good_rows(self, value, lists):
        X, reasons = column_matrix(column(ROWS, value, lists), 3)
        assert X.dtype == FLOATS[value].to_pandas_dtype()
        assert X.tolist() == ROWS
        assert reasons.tolist() == [""] * 4

    def test_a_view_without_a_copy(self, value, lists):
        array = column(ROWS, value, lists)
        for part in (array, pa.chunked_array([array])):
            X, _ = column_matrix(part, 3)
            assert address(X) == array.flatten().buffers()[1].address

    def test_a_slice(self, value, lists):
        array = column(ROWS, value, lists)
        X, reasons = column_matrix(array.slice(1, 2), 3)
        assert X.tolist() == ROWS[1:3]
        assert len(reasons) == 2
        assert address(X) == array.flatten().buffers()[1].address + 3 * X.itemsize

    def test_bad_rows_are_zero_with_their_reason(self, value, lists):
        rows = [ROWS[0], None, [1.0, None, 2.0], ROWS[1], [None, None, None]]
        if lists != "fixed_size_list":
            rows += [[1.0, 2.0], [], [1.0, 2.0, 3.0, 4.0]]
        zero = [0.0] * 3
        X, reasons = column_matrix(column(rows, value, lists), 3)
        assert reasons.tolist()[:5] == ["", NULL, NULL, "", NULL]
        assert set(reasons.tolist()[5:]) <= {WRONG_DIMENSION}
        assert X.tolist() == [ROWS[0], zero, zero, ROWS[1], zero, *[zero] * (len(rows) - 5)]
        X, reasons = column_matrix(column(rows, value, lists).slice(1, 3), 3)
        assert reasons.tolist() == [NULL, NULL, ""]
        assert X.tolist() == [zero, zero, ROWS[1]]

    def test_no_rows(self, value, lists):
        for empty in (column([], value, lists), pa.chunked_array([], LISTS[lists](FLOATS[value]))):
            X, reasons = column_matrix(empty, 3)
            assert (X.shape, X.dtype, reasons.shape) == ((0, 3), FLOATS[value].to_pandas_dtype(), (0,))
            assert vector_length(empty) is None

    def test_several_chunks(self, value, lists):
        chunks = [column(ROWS[:1], value, lists), column([], value, lists), column([None, ROWS[1]], value, lists)]
        X, reasons = column_matrix(pa.chunked_array(chunks), 3)
        assert X.tolist() == [ROWS[0], [0.0] * 3, ROWS[1]]
        assert reasons.tolist() == ["", NULL, ""]
        assert vector_length(pa.chunked_array(chunks)) == 3

    def test_another_dimension_makes_every_row_bad(self, value, lists):
        X, reasons = column_matrix(column(ROWS, value, lists), 5)
        assert X.tolist() == [[0.0] * 5] * 4
        assert reasons.tolist() == [WRONG_DIMENSION] * 4


def test_infinities_and_nans_are_values_like_others():
    X, reasons = column_matrix(column([[np.nan, np.inf, -0.0]]), 3)
    assert np.isnan(X[0, 0])
    assert np.isinf(X[0, 1])
    assert np.signbit(X[0, 2])
    assert reasons.tolist() == [""]


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.int32()), pa.list_(pa.uint8(), 2)])
def test_integers_become_doubles(kind):
    array = pa.array([[1, 0], None, [2, 3]], kind)
    X, reasons = column_matrix(array, 2)
    assert X.dtype == np.float64
    assert X.tolist() == [[1, 0], [0, 0], [2, 3]]
    assert reasons.tolist() == ["", NULL, ""]


def test_integers_that_no_double_holds_are_rounded():
    X, _ = column_matrix(pa.array([[2**53 + 1, 1]]), 2)
    assert X.tolist() == [[2.0**53, 1.0]]


def test_a_tensor_column_is_a_matrix():
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.array(ROWS, np.float32))
    X, _ = column_matrix(tensors, 3)
    assert X.tolist() == ROWS


@pytest.mark.parametrize("array", [pa.nulls(2), pa.array([None, None], pa.list_(pa.float32())), pa.array([[], None])])
def test_without_any_vector(array):
    X, reasons = column_matrix(array, 3)
    assert X.shape == (2, 3)
    assert set(reasons.tolist()) <= {NULL, WRONG_DIMENSION}
    assert vector_length(array) is None


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1.0]),
        pa.array(["a"]),
        pa.array([["a"]]),
        pa.array([[[1.0]]]),
        pa.array([{"x": 1.0}]),
        pa.array([b"\0"]),
    ],
    ids=lambda array: str(array.type),
)
def test_other_columns_are_refused_by_their_type(array):
    for read in (lambda: column_matrix(array, 1), lambda: vector_length(array)):
        with pytest.raises(InputError, match=r"must hold lists of half, float or double"):
            read()


@pytest.mark.parametrize(
    ("rows", "length"),
    [([[1.0]], 1), ([[1.0], [1.0, 2.0], [3.0, 4.0]], 2), ([[1.0, 2.0], [1.0]], 1), ([[], [], [1.0, 2.0], None], 2)],
)
def test_the_usual_length(rows, length):
    assert vector_length(pa.array(rows, pa.list_(pa.float32()))) == length


matrices = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 6), st.integers(1, 5)),
    elements=st.floats(width=32, allow_nan=False),
)


@given(matrices)
def test_a_matrix_comes_back_bit_for_bit(X):
    array = matrix_column(X)
    assert array.type == pa.list_(pa.float32())
    array.validate(full=True)
    back, reasons = column_matrix(array, X.shape[1])
    assert back.tobytes() == X.tobytes()
    assert reasons.tolist() == [""] * len(X)


@given(st.data(), matrices.filter(lambda X: len(X) > 0))
def test_damaged_rows_do_not_harm_their_neighbours(data, X):
    rows = X.tolist()
    harms = data.draw(st.lists(st.sampled_from(["", "none", "short", "hole"]), min_size=len(X), max_size=len(X)))
    for number, harm in enumerate(harms):
        if harm == "none":
            rows[number] = None
        elif harm == "short":
            rows[number] = rows[number][1:]
        elif harm == "hole":
            rows[number][0] = None
    back, reasons = column_matrix(pa.array(rows, pa.list_(pa.float32())), X.shape[1])
    told = {"": "", "none": NULL, "short": WRONG_DIMENSION, "hole": NULL}
    assert reasons.tolist() == [told[harm] for harm in harms]
    good = np.array([not harm for harm in harms])
    assert back[good].tobytes() == X[good].tobytes()
    assert not back[~good].any()


def test_a_matrix_is_shared_not_copied():
    X = np.ones((3, 4), np.float32)
    assert matrix_column(X).flatten().buffers()[1].address == address(X)


def test_other_layouts_are_copied_right():
    X = np.arange(12, dtype=np.float64).reshape(3, 4).T
    assert matrix_column(X).to_pylist() == X.tolist()


def test_more_values_than_one_column_takes():
    X = np.broadcast_to(np.float32(0), (2**16, 2**15))  # 8 GiB, if anyone made it contiguous
    with pytest.raises(InputError, match="65536 vectors of 32768 are too many"):
        matrix_column(X)
