"""Embedding models on a device, without any video: frames are made in memory.

    python -m benchmarks.gpu.models internvideo2-cpu | pdqf | out-of-memory

(`benchmarks.internvideo2` measures the speed of InternVideo2, `benchmarks.gpu.embed` the whole stage.)
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.records import rehearsing, sized, tell
from benchmarks.internvideo2 import SMALL, SOURCE_SIDES, random_network
from curator_dask.models.base import ModelOptions
from curator_dask.models.internvideo2.model import InternVideo2
from curator_dask.models.internvideo2.network import NetworkSizes
from curator_dask.models.registry import load_model

LEAST_COSINE = 0.9999
"""float32 on a device and on a CPU, over 40 blocks."""
PDQF_FRAMES = 60


def main() -> None:
    steps: dict[str, Callable[[], None]] = {
        "internvideo2-cpu": compare_with_the_cpu, "pdqf": measure_pdqf, "out-of-memory": run_out_of_memory,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=steps)
    steps[parser.parse_args().step]()


def compare_with_the_cpu() -> None:
    """One clip through the whole network, on the CPU and on the device with the same weights."""
    clips = noise_clips(1)
    network = random_network(torch.device("cpu"), torch.float32, sizes())
    begun = time.perf_counter()
    expected = vector(InternVideo2(network, "random", ModelOptions(device="cpu")), clips)
    tell("internvideo2, a clip on the CPU", time.perf_counter() - begun, "s")
    network = network.to(device())
    cosine = float(vector(InternVideo2(network, "random", ModelOptions(device=device())), clips) @ expected)
    tell(
        "internvideo2 in float32: cosine with the CPU's vector",
        cosine,
        at_least=LEAST_COSINE,
        agrees=cosine >= LEAST_COSINE,
    )
    network = network.to(torch.bfloat16)
    cosine = float(vector(InternVideo2(network, "random", ModelOptions(device=device())), clips) @ expected)
    tell("internvideo2 in bfloat16: cosine with the CPU's vector", cosine)


def measure_pdqf() -> None:
    """The default model, whose vectors are the same bits everywhere."""
    num_clips = sized(64, 8)  # a CPU needs a tenth of a second for each
    clips = [moving_picture(number) for number in range(num_clips)]
    on_host = load_model("pdqf_tmk", ModelOptions(device="cpu"))
    on_device = load_model("pdqf_tmk", ModelOptions(device=device()))
    found = [np.asarray(one) for one in on_device.embed(clips[:8])]
    expected = [np.asarray(one) for one in on_host.embed(clips[:8])]
    equal = all(one.tobytes() == other.tobytes() for one, other in zip(found, expected, strict=True))
    tell("pdqf_tmk, vectors of 8 clips", agrees=equal)
    for name, model in (("the CPU", on_host), ("the device", on_device)):
        begun = time.perf_counter()
        model.embed(clips)
        tell(f"pdqf_tmk on {name}, clips of {PDQF_FRAMES} frames", num_clips / (time.perf_counter() - begun), "clips/s")


class Counting(InternVideo2):
    """Notes the size of each batch. In a rehearsal it runs out of memory by itself, with more than three clips."""

    def _embed_batch(self, clips: Sequence[Any]) -> list[Any]:
        self.asked = [*getattr(self, "asked", []), len(clips)]
        if rehearsing() and len(clips) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory (rehearsed)")
        return super()._embed_batch(clips)


def run_out_of_memory() -> None:
    """A batch that the device cannot hold is halved, and no clip is lost."""
    dtype = torch.float32 if rehearsing() else torch.bfloat16
    network = random_network(torch.device(device()), dtype, sizes())
    if torch.cuda.is_available():
        leave_free(2 << 30)
    clips = noise_clips(sized(256, 8))
    model = Counting(network, "random", ModelOptions(device=device()), clips_per_batch=len(clips))
    found = np.stack(model.embed(clips))
    batches = ", ".join(str(size) for size in model.asked)
    tell("internvideo2, sizes of the batches that it tried", batches)
    expected = np.stack(
        InternVideo2(network, "random", ModelOptions(device=device()), clips_per_batch=1).embed(clips[:8])
    )
    cosines = np.einsum("ij,ij->i", found[:8], expected)
    halved = min(model.asked) < len(clips) and len(found) == len(clips)
    tell(
        "lowest cosine with the vectors of single clips",
        float(cosines.min()),
        agrees=bool(halved and cosines.min() > 0.99),
    )


def leave_free(num_bytes: int) -> None:
    """From now on torch gets this much memory more than it has."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + num_bytes) / total))


def device() -> str:
    return "cpu" if rehearsing() else "cuda"


def sizes() -> NetworkSizes:
    return SMALL if rehearsing() else NetworkSizes()


def noise_clips(number: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (number, 4, *SOURCE_SIDES, 3), dtype=np.uint8))


def moving_picture(seed: int) -> np.ndarray:
    """(60, 64, 64, 3) uint8: coarse noise that moves, which is not too plain for PDQ."""
    random = np.random.default_rng(seed)
    picture = np.kron(random.integers(0, 256, (16, 16, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    return np.stack([np.roll(picture, at, axis=1)[:64, :64] for at in range(PDQF_FRAMES)])


def vector(model: InternVideo2, clips: list[np.ndarray]) -> np.ndarray:
    return np.asarray(model.embed(clips)[0])


if __name__ == "__main__":
    main()
