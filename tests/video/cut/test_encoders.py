"""The options that encoders get."""

from __future__ import annotations

import pytest

from curator_dask.errors import ParameterError
from curator_dask.video.cut.encoders import TranscodeSettings, encoded_size, encoder_args


def options(arguments: list[str]) -> dict[str, str]:
    return dict(zip(arguments[::2], arguments[1::2], strict=True))


def test_openh264_has_constant_quality_by_default() -> None:
    told = options(encoder_args(TranscodeSettings(), 500_000))
    assert told == {
        "-c:v": "libopenh264",
        "-rc_mode": "off",
        "-profile:v": "high",
        "-coder": "cabac",
        "-threads:v": "1",
    }


@pytest.mark.parametrize("encoder", ["libopenh264", "libx264", "h264_nvenc"])
def test_a_bit_rate_replaces_constant_quality(encoder: str) -> None:
    told = options(encoder_args(TranscodeSettings(encoder=encoder, bit_rate="4M", encoder_threads=2), None))
    assert told["-b:v"] == "4M"
    assert told["-threads:v"] == "2"
    assert told.get("-rc_mode") != "off"
    assert not {"-crf", "-cq"} & told.keys()


def test_the_input_bit_rate_wins_where_it_is_known() -> None:
    settings = TranscodeSettings(bit_rate="4M", use_input_bit_rate=True)
    assert options(encoder_args(settings, 512_345))["-b:v"] == "512345"
    assert options(encoder_args(settings, None))["-b:v"] == "4M"


@pytest.mark.parametrize("encoder", ["libx264", "h264_nvenc"])
def test_forced_key_frames_start_a_decodable_file(encoder: str) -> None:
    told = options(encoder_args(TranscodeSettings(encoder=encoder), None))
    assert (told["-forced-idr"], told["-bf"]) == ("1", "0")


@pytest.mark.parametrize(
    ("encoder", "size", "expected"),
    [
        ("libopenh264", (1920, 1080), (1920, 1080)),
        ("libopenh264", (641, 361), (640, 360)),
        ("libopenh264", (4096, 2304), (4096, 2304)),
        ("libopenh264", (2304, 4096), (2304, 4096)),
        ("libopenh264", (5120, 2880), (4096, 2304)),
        ("libx264", (5120, 2880), (5120, 2880)),
        ("h264_nvenc", (8192, 4320), (4096, 2160)),
    ],
)
def test_sizes_are_even_and_within_the_encoders_limits(
    encoder: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert encoded_size(encoder, *size) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoder": "mpeg4"},
        {"encoder_threads": 0},
        {"bit_rate": "fast"},
        {"bit_rate": "4M -y /etc/passwd"},
        {"bit_rate": "0"},
        {"max_error_rate": 1.5},
        {"timeout_s": 0.0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        TranscodeSettings(**wrong)
