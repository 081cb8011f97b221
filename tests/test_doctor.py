"""What `doctor` reports about this machine, whatever it has."""

from __future__ import annotations

import pytest

from curator_dask import doctor
from curator_dask.runtime import device as backend
from curator_dask.video.process import ffmpeg


@pytest.fixture(scope="module")
def findings():
    return {finding.topic: finding for finding in doctor.examine()}


def test_it_speaks_of_everything(findings):
    assert {"curator_dask", "packages", "processor", "memory", "disk", "ffmpeg", "torch", "rapids"} <= findings.keys()
    assert findings["encoder libopenh264"].level == "ok"
    assert "torch 2" in findings["packages"].text


def test_it_knows_whether_there_is_a_gpu(findings):
    assert ("gpu" in findings) == (not any(topic.startswith("gpu 0") for topic in findings))
    if "gpu" in findings:
        assert str(backend.why_no_gpu()) in findings["gpu"].text


def test_a_missing_ffmpeg_is_a_fault_that_says_what_to_do(monkeypatch):
    monkeypatch.setenv(ffmpeg.FFMPEG_VARIABLE, "/no/such/ffmpeg")
    for cached in (ffmpeg.ffmpeg_path, ffmpeg.ffmpeg_version, ffmpeg.encoder_failure):
        cached.cache_clear()
    try:
        found = {finding.topic: finding for finding in doctor.examine()}
    finally:
        for cached in (ffmpeg.ffmpeg_path, ffmpeg.ffmpeg_version, ffmpeg.encoder_failure):
            cached.cache_clear()
    assert found["ffmpeg"].level == "fault"
    assert ffmpeg.FFMPEG_VARIABLE in found["ffmpeg"].text


@pytest.mark.parametrize("name", ["NVIDIA H200", "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB"])
def test_gpus_without_a_video_encoder_are_known(name):
    class Driver:
        """Answers like the driver of such a device."""

        class Memory:
            free, total = 1 << 30, 2 << 30

        def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
            return index

        def nvmlDeviceGetName(self, handle):  # noqa: N802
            return name

        def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
            return self.Memory

    levels = [finding.level for finding in doctor._device(Driver(), 0)]
    assert levels == ["ok", "note"]
