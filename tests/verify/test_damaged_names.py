"""A record with a damaged byte still tells which files it names, wherever the damage is."""

from __future__ import annotations

import json

from curator_dask.verify.stage_records import holds_with_a_fault

NAMES = ["clips/de82dd34-5e67-5b9d-a8c1-f8d998c083f2.mp4", "processed_videos/scène 1.mkv.json"]


def test_no_damaged_byte_hides_a_name():
    record = json.dumps({"outputs": dict.fromkeys(NAMES, 7)}).encode()
    escaped = [json.dumps(name)[1:-1].encode() for name in NAMES]
    for place in range(len(record)):
        damaged = bytearray(record)
        damaged[place] ^= 1
        assert all(holds_with_a_fault(bytes(damaged), name) for name in escaped), place


def test_other_names_are_not_found():
    record = json.dumps({"outputs": dict.fromkeys(NAMES, 7)}).encode()
    for other in (b"clips/mine.mp4", b"clips/de82dd34-5e67-5b9d-a8c1-f8d998c08300.mp4", b"processed_videos/other.json"):
        assert not holds_with_a_fault(record, other)
