"""PDQ against the C++ reference's own results."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from curator_dask.errors import ParameterError
from curator_dask.models.pdqf import pdq


@pytest.fixture(scope="module")
def golden(shared_dir):
    folder = shared_dir / "golden" / "pdq"
    facts = json.loads((folder / "pdq.json").read_text())
    with np.load(folder / "pdq.npz") as arrays:
        return {name: (fact, *(arrays[f"{kind}/{name}"] for kind in KINDS)) for name, fact in facts.items()}


KINDS = ("image", "buffer64", "pdqf")
NAMES = (
    *(
        "photo_400x251",
        "photo_shrunk_160x100",
        "photo_square_128",
        "photo_blurred_300x188",
        "smooth",
        "noise",
        "shapes",
    ),
    *("exact64", "exact64_noise", "tall", "wide", "just65", "small", "big", "hgradient", "checker", "constant"),
    *("black", "low_contrast", "min5x5", "too_small4x4", "too_small4x100"),
)


def bits_of(hex_digits):
    return np.unpackbits(np.frombuffer(bytes.fromhex(hex_digits), np.uint8))[::-1].astype(bool)


@pytest.mark.shared
def test_every_golden_picture_is_tested(golden):
    assert set(golden) == set(NAMES)


@pytest.mark.shared
@pytest.mark.parametrize("name", NAMES)
def test_golden_picture(golden, name):
    fact, image, buffer, coefficients = golden[name]
    got_buffer = pdq.frames_to_buffers(torch.from_numpy(image)[None])
    got = pdq.transform(got_buffer)
    assert np.abs(got_buffer[0].numpy() - buffer).max() <= 2e-3
    assert np.abs(got.flatten().numpy() - coefficients).max() <= max(2e-3, 1e-4 * np.abs(coefficients).max())
    assert pdq.quality(got_buffer).tolist() == [fact["quality"]]
    assert pdq.has_texture(got.flatten(1)).tolist() == [fact["norm"] >= pdq.MIN_NORM]
    if not fact["degenerate"]:
        near_median = np.abs(coefficients - fact["median"]) < 0.01
        got_bits = pdq.hash_bits(got)[0].numpy()
        assert not ((got_bits != bits_of(fact["pdq_hex"])) & ~near_median).any()


@pytest.mark.shared
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("hgradient", "checker", "constant")])
def test_golden_hashes_of_all_eight_turns(golden, name):
    fact, image, *_ = golden[name]
    variants = pdq.dihedral(pdq.transform(pdq.frames_to_buffers(torch.from_numpy(image)[None])))
    assert [pdq.hash_hex(bits) for bits in pdq.hash_bits(variants)[0]] == fact["dihedral_hex"]
    assert fact["dihedral_hex"][0] == fact["pdq_hex"]


@pytest.mark.shared
def test_golden_luma(shared_dir):
    with np.load(shared_dir / "golden" / "pdq" / "luma.npz") as golden_luma:
        got = pdq.luma(torch.from_numpy(golden_luma["image"])[None])[0].numpy()
        assert np.abs(got - golden_luma["luma"]).max() <= 1e-4


def test_turned_coefficients_are_those_of_the_turned_picture():
    picture = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    turns = [
        *(picture, picture.rot90(1), picture.rot90(2), picture.rot90(3), picture.flip(0), picture.flip(1)),
        *(picture.transpose(0, 1), picture.rot90(2).transpose(0, 1)),
    ]
    direct = pdq.transform(pdq.frames_to_buffers(torch.stack(turns)))
    assert (pdq.dihedral(direct[:1])[0] - direct).abs().max() < 1e-3


def test_the_transform_is_exact():
    """Computed with Python's integers, which have no limit, the two products equal those in float64."""
    worst = torch.full((1, 64, 64), 255.0)
    noisy = torch.from_numpy(np.random.default_rng(1).random((1, 64, 64), dtype=np.float32) * 255)
    columns, rows = pdq._cosines()
    whole = np.vectorize(int, otypes=[object])
    for buffers in (worst, noisy):
        samples = whole(np.round(buffers[0].double().numpy() * 2**14))
        products = whole(columns * 2**27) @ samples
        assert np.array_equal(products.astype(float), columns * 2**27 @ samples.astype(float))
        middle = whole(np.round(products.astype(float) / 2.0 ** (14 + 27 - 16)))
        exact = (middle @ whole(rows * 2**22).T).astype(float) / 2.0 ** (16 + 22)
        assert np.array_equal(pdq.transform(buffers)[0].numpy(), np.round(exact * 2**16) / 2**16)


@pytest.mark.parametrize("length", [5, 63, 64, 65, 127, 128, 129, 300, 1080])
def test_shrinking_is_two_box_filters_and_a_sampling(length):
    signal = np.random.default_rng(length).random(length)
    window = (length + 127) // 128
    ahead = (window + 2) // 2
    filtered = signal
    for _ in range(2):
        filtered = np.array(
            [filtered[max(i + ahead - window, 0) : i + ahead].mean() for i in range(length)],
        )
    expected = [filtered[int((i + 0.5) * length / 64)] for i in range(64)]
    assert pdq._shrink_matrix(length) @ signal == pytest.approx(expected, abs=1e-12)


def test_a_frame_is_described_alike_in_any_company():
    frames = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (200, 64, 64, 3), dtype=np.uint8))
    together = pdq.describe_frames(frames)
    for at in (0, 63, 64, 150, 199):
        alone = pdq.describe_frames(frames[at : at + 1])
        assert torch.equal(alone.pdqf[0], together.pdqf[at])
        assert torch.equal(alone.quality[0], together.quality[at])


def test_no_frames_give_no_descriptors():
    nothing = pdq.describe_frames(torch.zeros(0, 64, 64, 3, dtype=torch.uint8))
    assert nothing.pdqf.shape == (0, 256)
    assert nothing.quality.shape == (0,)


@pytest.mark.parametrize("shape", [(64, 64, 3), (1, 64, 64), (1, 64, 64, 4)], ids=str)
def test_other_shapes_are_refused(shape):
    with pytest.raises(ParameterError, match="uint8"):
        pdq.describe_frames(torch.zeros(shape, dtype=torch.uint8))
