"""Products of low precision find the same pairs: simulated with NumPy, and on the stand-in for a device."""

from __future__ import annotations

import ctypes
import logging
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.dedup.arrays.xp import suited_tile_rows
from curator_dask.dedup.similarity import best_match as search
from curator_dask.dedup.similarity import candidates, tiles
from curator_dask.dedup.similarity.best_match import best_match
from curator_dask.dedup.similarity.candidates import (
    BFLOAT16,
    CANDIDATES_VARIABLE,
    FLOAT32,
    TF32,
    Precision,
    candidate_precision,
    probe_rows,
    rounding_bound,
)
from curator_dask.dedup.similarity.pairs import side
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity
from curator_dask.errors import ParameterError
from tests import strict_cupy
from tests.dedup.reference import EXAMPLE_1, EXAMPLE_2, EXAMPLE_4, chain, earlier, random_unit, unit
from tests.strict_cupy import CUBLAS, cut_off

GIB = 1 << 30


def rounded(X: np.ndarray, bits: int) -> np.ndarray:
    """float32 numbers rounded to this many significant bits."""
    half = np.uint32(1 << (23 - bits))
    return cut_off((np.ascontiguousarray(X, dtype=np.float32).view(np.uint32) + half).view(np.float32), bits)


@dataclass(frozen=True)
class Simulated(Precision):
    """The low precision of some hardware, simulated with NumPy."""

    bits: int = 24
    way: str = "cut off"

    def multiply(self, left, right, out):
        if self.way == "anything":  # the worst that the bound allows, up or down, but for what float32 adds
            np.matmul(left, right.T, out=out)
            allowed = self.bound(left.shape[1]) - 2 * FLOAT32.bound(left.shape[1])
            out += np.float32(allowed) * np.random.default_rng(len(left)).choice(np.float32([-1, 1]), out.shape)
            return out
        few = cut_off if self.way == "cut off" else rounded
        return np.matmul(few(left, self.bits), few(right, self.bits).T, out=out)


class OnTheStack(ctypes.Structure):
    """Is copied to the stack by whoever is called with it."""

    _fields_ = [("words", ctypes.c_uint32 * 16384)]


@pytest.mark.parametrize(("num_rows", "num_columns"), [(1, 2), (2, 1), (1, 7), (3, 3)])
def test_what_lies_on_the_stack_is_no_warning(num_rows, num_columns):
    rows, columns = random_unit(num_rows, 5, 0), random_unit(num_columns, 5, 1)
    out = np.zeros((num_rows, num_columns), np.float32)
    signalling = OnTheStack((ctypes.c_uint32 * 16384)(*[0x7FA00000] * 16384))  # NaN that processors report
    ctypes.CDLL(None).getpid(signalling)
    FLOAT32.multiply(rows, columns, out)
    expected = (rows[:, None].astype(np.float64) * columns).sum(axis=2)
    assert np.abs(out - expected).max() <= FLOAT32.bound(5)


def simulated(precision: Precision, bits: int, way: str) -> Simulated:
    return Simulated(
        precision.name, precision.input_error, precision.term_error, precision.compute_type, bits=bits, way=way
    )


WAYS = {
    "tf32 cut off": simulated(TF32, 11, "cut off"),
    "tf32 rounded": simulated(TF32, 11, "rounded"),
    "tf32 anything": simulated(TF32, 11, "anything"),
    "bfloat16 cut off": simulated(BFLOAT16, 8, "cut off"),
    "bfloat16 rounded": simulated(BFLOAT16, 8, "rounded"),
    "bfloat16 anything": simulated(BFLOAT16, 8, "anything"),
}


@pytest.fixture(params=WAYS)
def coarse(request, monkeypatch) -> Simulated:
    monkeypatch.setattr(search, "candidate_precision", lambda rows: WAYS[request.param])
    return WAYS[request.param]


def near_ties(num_rows: int, dim: int, seed: int, spread: float) -> np.ndarray:
    """Rows around a few directions, so that many cosines differ by less than the coarse products can tell."""
    random = np.random.default_rng(seed)
    centres = random_unit(5, dim, seed)
    return unit(centres[random.integers(0, 5, num_rows)] + spread * random.standard_normal((num_rows, dim)))


class TestBounds:
    @pytest.mark.parametrize(
        ("precision", "dim", "expected"),
        [(FLOAT32, 512, 520 * 2.0**-24), (TF32, 1536, 2.0**-9 + 2.0**-20 + 1544 * 2.0**-22),
         (BFLOAT16, 1536, 2.0**-6 + 2.0**-14 + 1544 * 2.0**-22)],
        ids=["float32", "tf32", "bfloat16"],
    )  # fmt: skip
    def test_worked(self, precision, dim, expected):
        assert precision.bound(dim) == np.float32(expected)
        assert isinstance(precision.bound(dim), np.float32)

    def test_that_of_float32_is_what_it_was(self):
        assert rounding_bound(1024) == FLOAT32.bound(1024) == np.float32(1032 * 2.0**-24)

    @pytest.mark.parametrize("way", [way for way in WAYS if "anything" not in way])
    @pytest.mark.parametrize("dim", [1, 7, 128, 1536])
    def test_hold(self, way, dim):
        precision = WAYS[way]
        X = np.concatenate([random_unit(60, dim, 0), random_unit(60, dim, 1, copies=0.9, noise=1e-3)])
        out = precision.multiply(X, X, np.empty((120, 120), np.float32))
        exact = X.astype(np.float64) @ X.T.astype(np.float64)
        assert np.abs(out - exact).max() <= precision.bound(dim)

    def test_the_probe_comes_close_to_them(self):
        """The probe's errors come close to the bound, so a device with one bit too few does not pass."""
        X = probe_rows()
        exact = X.astype(np.float64) @ X.T.astype(np.float64)
        for precision, bits in [(TF32, 11), (BFLOAT16, 8)]:
            error, one_bit_less = (
                np.abs(cut_off(X, kept) @ cut_off(X, kept).T - exact).max() for kept in (bits, bits - 1)
            )
            assert 0.8 * precision.bound(1024) < error <= precision.bound(1024) < one_bit_less


HARD = {
    "example 1": EXAMPLE_1,
    "example 2": EXAMPLE_2,
    "example 4": EXAMPLE_4,
    "chain": chain(),
    "near ties": near_ties(500, 32, 0, 0.02),
    "nearer ties": near_ties(500, 32, 1, 0.001),
    "ties": near_ties(300, 24, 2, 1e-7),
    "equal": np.repeat(random_unit(1, 16, 3), 300, axis=0),
    "copies among others": random_unit(700, 48, 4, copies=0.3, noise=1e-4),
    "well apart": random_unit(400, 256, 5),
}


@pytest.mark.parametrize("name", HARD)
def test_scores_are_those_of_brute_force(coarse, name):
    expected = earlier(HARD[name])
    for tile_rows in (70, 1024):
        score, index = max_earlier_similarity(HARD[name], tile_rows=tile_rows)
        np.testing.assert_array_equal(score, expected[0])
        np.testing.assert_array_equal(index, expected[1])


@given(
    st.integers(0, 2**32), st.integers(1, 250), st.integers(1, 40), st.integers(1, 200),
    st.sampled_from([0.0, 1e-7, 1e-4, 1e-3, 1e-2, 0.1]), st.sampled_from(sorted(WAYS)),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_any_rows(seed, num_rows, dim, tile_rows, noise, way):
    X = random_unit(num_rows, dim, seed, copies=0.7, noise=noise)
    expected_score, expected_index = earlier(X)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "candidate_precision", lambda rows: WAYS[way])
        score, index = max_earlier_similarity(X, tile_rows=tile_rows)
    np.testing.assert_array_equal(score, expected_score)
    np.testing.assert_array_equal(index, expected_index)


@pytest.mark.parametrize("floor", [-1.0, 0.0, 0.5, 0.97, 1.0])
def test_a_floor(coarse, floor):
    """Cosines just below and just above a floor are told apart as well as without coarse products."""
    X = near_ties(400, 32, 6, 0.03)
    sides = side(X[:150]), side(X[150:])
    got = best_match(*sides, earlier_only=False, tile_rows=40, floor=floor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "candidate_precision", lambda rows: FLOAT32)
        expected = best_match(*sides, earlier_only=False, tile_rows=40, floor=floor)
    assert [part.tobytes() for part in got] == [part.tobytes() for part in expected]


def test_what_waits_is_bounded(coarse, monkeypatch):
    X = near_ties(500, 32, 7, 0.02)
    monkeypatch.setattr(search, "MOST_PENDING", 50)
    score, index = max_earlier_similarity(X, tile_rows=30)
    np.testing.assert_array_equal(score, earlier(X)[0])
    np.testing.assert_array_equal(index, earlier(X)[1])


class TestHowMuchIsMeasured:
    @staticmethod
    def counted(monkeypatch, X, way) -> tuple[int, int]:
        """The numbers of pairs that were measured in float32 and in float64."""
        singles, doubles = [], []
        pair_products, measure_pairs = search.pair_products, search.measure_pairs
        monkeypatch.setattr(search, "candidate_precision", lambda rows: way)
        monkeypatch.setattr(
            search, "pair_products", lambda a, b, i, j: singles.append(len(i)) or pair_products(a, b, i, j)
        )
        monkeypatch.setattr(
            search, "measure_pairs", lambda a, b, i, j: doubles.append(len(i)) or measure_pairs(a, b, i, j)
        )
        max_earlier_similarity(X)
        return sum(singles), sum(doubles)

    def test_float32_leaves_little_for_float64(self, monkeypatch):
        X = near_ties(2000, 64, 8, 0.05)
        assert self.counted(monkeypatch, X, FLOAT32)[0] == 0
        narrow = self.counted(monkeypatch, X, FLOAT32)[1]
        singles, doubles = self.counted(monkeypatch, X, WAYS["tf32 cut off"])
        assert doubles <= 1.2 * narrow < singles

    def test_rows_too_much_alike_go_on_in_float32(self, monkeypatch):
        used = []

        @dataclass(frozen=True)
        class Told(Simulated):
            def multiply(self, left, right, out):
                used.append(len(left))
                return super().multiply(left, right, out)

        way = Told("tf32", TF32.input_error, TF32.term_error, TF32.compute_type, bits=11)
        X = near_ties(1500, 64, 9, 1e-4)
        monkeypatch.setattr(search, "candidate_precision", lambda rows: way)
        score, _ = max_earlier_similarity(X, tile_rows=100)
        np.testing.assert_array_equal(score, earlier(X)[0])
        num_tiles = sum(-(-block // 200) for block in range(50, 1501, 50))  # of 50 queries and 200 references each
        assert 0 < len(used) < num_tiles / 2


@pytest.fixture
def device(monkeypatch):
    """``device(free_bytes, capability)``: the stand-in for CuPy, with a device of that kind."""
    monkeypatch.delenv(CANDIDATES_VARIABLE, raising=False)

    def made(*kind, **more):
        module = strict_cupy.strict_cupy(*kind, **more)
        monkeypatch.setitem(sys.modules, "cupy", module)
        return module

    return made


class TestWhichOneADeviceTakes:
    def test_numpy_has_float32_only(self, monkeypatch):
        monkeypatch.setenv(CANDIDATES_VARIABLE, "bfloat16")
        assert candidate_precision(EXAMPLE_1) is FLOAT32

    @pytest.mark.parametrize(
        ("capability", "asked", "expected"),
        [("90", None, TF32), ("80", "auto", TF32), ("75", None, FLOAT32), ("70", "tf32", FLOAT32), ("90", "float32", FLOAT32),
         ("90", "bfloat16", BFLOAT16), ("120", "tf32", TF32)],
    )  # fmt: skip
    def test_by_what_it_can(self, device, monkeypatch, capability, asked, expected):
        if asked:
            monkeypatch.setenv(CANDIDATES_VARIABLE, asked)
        cp = device(capability=capability)
        assert candidate_precision(cp.asarray(EXAMPLE_1)) is expected

    def test_a_name_that_is_none(self, device, monkeypatch):
        monkeypatch.setenv(CANDIDATES_VARIABLE, "float8")
        with pytest.raises(
            ParameterError, match=r"CURATOR_DASK_CANDIDATES \('float8'\) must be one of auto, float32, tf32"
        ):
            candidate_precision(device().asarray(EXAMPLE_1))

    def test_one_that_keeps_fewer_bits_than_it_says(self, device, monkeypatch, caplog):
        monkeypatch.setitem(strict_cupy.BITS, CUBLAS[TF32.compute_type], 9)
        cp = device()
        with caplog.at_level(logging.WARNING, candidates.__name__):
            assert candidate_precision(cp.asarray(EXAMPLE_1)) is FLOAT32
            assert candidate_precision(cp.asarray(EXAMPLE_2)) is FLOAT32
        assert [record.getMessage().split(" are off")[0] for record in caplog.records] == ["products in tf32"]

    def test_one_that_cannot(self, device, caplog):
        cp = device()

        def refuse(*_):
            raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")

        cp.cuda.cublas.gemmEx = refuse
        with caplog.at_level(logging.WARNING, candidates.__name__):
            assert candidate_precision(cp.asarray(EXAMPLE_1)) is FLOAT32
        assert "device 0 does not multiply in tf32 (CUBLAS_STATUS_NOT_SUPPORTED): float32 is used" in caplog.text


class TestProductsOnADevice:
    @pytest.mark.parametrize("precision", [FLOAT32, TF32, BFLOAT16], ids=lambda precision: precision.name)
    @pytest.mark.parametrize(("m", "n", "dim"), [(1, 1, 1), (3, 5, 4), (5, 3, 1), (2, 7, 33), (0, 3, 2), (3, 0, 2)])
    def test_rows_times_rows(self, device, precision, m, n, dim):
        cp = device()
        left, right = random_unit(m + 1, dim, 0)[:m], random_unit(n + 1, dim, 1)[:n]
        out = cp.asarray(np.full((m, n), 7, np.float32))
        assert precision.multiply(cp.asarray(left), cp.asarray(right), out) is out
        bits = strict_cupy.BITS[CUBLAS[precision.compute_type]]
        np.testing.assert_allclose(out.get(), cut_off(left, bits) @ cut_off(right, bits).T, atol=1e-6)

    def test_into_a_part_of_a_wider_one(self, device):
        cp = device()
        X = random_unit(20, 6, 0)
        whole = cp.asarray(np.full((9, 12), 7, np.float32))
        FLOAT32.multiply(cp.asarray(X)[4:8], cp.asarray(X)[10:15], whole[2:6, :5])
        expected = np.full((9, 12), 7, np.float32)
        expected[2:6, :5] = X[4:8] @ X[10:15].T
        np.testing.assert_allclose(whole.get(), expected, atol=1e-6)

    def test_columns_are_refused(self, device):
        cp = device()
        X = cp.asarray(random_unit(4, 4, 0))
        with pytest.raises(ValueError, match="row by row"):
            FLOAT32.multiply(X, X.T, cp.empty((4, 4), dtype=np.float32))

    @pytest.mark.parametrize("asked", ["float32", "tf32", "bfloat16"])
    @pytest.mark.parametrize("name", ["example 2", "chain", "near ties", "nearer ties", "equal"])
    def test_scores_are_those_of_the_host(self, device, monkeypatch, asked, name):
        monkeypatch.setenv(CANDIDATES_VARIABLE, asked)
        monkeypatch.setattr(tiles, "DEVICE_STEP", 64)  # several steps on the diagonal
        cp = device()
        got, expected = max_earlier_similarity(cp.asarray(HARD[name])), max_earlier_similarity(HARD[name])
        assert [part.tobytes() for part in got] == [part.tobytes() for part in expected]


@pytest.mark.parametrize(
    ("free_bytes", "asked", "expected"),
    [
        (128 * GIB, 1024, 8192),  # 16,384 x 16,384 numbers at 24 bytes are 6 GiB
        (12 * GIB, 1, 8192),
        (12 * GIB - 1, 1024, 4096),
        (GIB, 1024, 2048),
        (100_000, 1024, 1024),
        (0, 1024, 1024),
        (0, 1, 1),
        (128 * GIB, 50_000, 50_000),
    ],
)
def test_tiles_of_a_device(device, free_bytes, asked, expected):
    cp = device(free_bytes)
    assert suited_tile_rows(cp.asarray(EXAMPLE_1), asked) == expected
    assert suited_tile_rows(EXAMPLE_1, asked) == asked
