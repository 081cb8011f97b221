"""InternVideo2 at its full size, with random weights: clips per second, and the share of the device's speed it uses.

    python -m benchmarks.internvideo2 [--device cuda] [--dtype auto] [--clips 64] [--batch 16] [--rounds 3] [--small]
    python -m benchmarks.internvideo2 --device cpu --clips 1 --rounds 1

The frames are noise in memory, so nothing is decoded. Each round times three things, one after the other:

* the network alone, on tensors that are on the device already;
* the model, from frames to vectors;
* a bare matrix product as large as the largest one of the network, which shows how fast the device can be.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.gpu.records import tell
from curator_dask.models.base import ModelOptions
from curator_dask.models.device import usable_device
from curator_dask.models.internvideo2.model import InternVideo2
from curator_dask.models.internvideo2.network import InternVideo2Network, NetworkSizes, make_empty

SMALL = NetworkSizes(width=64, depth=2, mlp_width=96, pooled_width=32, dimension=16, num_heads=4, num_pool_heads=4)
"""A tiny network, to try the benchmark itself."""
SOURCE_SIDES = (224, 224)
"""Height and width of the frames: the readers scale while they decode, so the model has nothing to resize."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a tiny network, to try the benchmark itself")
    options = parser.parse_args()
    device = usable_device(options.device)
    auto = "float32" if device.type == "cpu" else "bfloat16"
    dtype = getattr(torch, auto if options.dtype == "auto" else options.dtype)
    batch = min(options.batch, options.clips)
    network = random_network(device, dtype, SMALL if options.small else None)
    model = InternVideo2(network, "random", ModelOptions(device=options.device), clips_per_batch=batch)
    clips = list(np.random.default_rng(0).integers(0, 256, (options.clips, 4, *SOURCE_SIDES, 3), dtype=np.uint8))
    ready = model.preprocess(clips[:batch]).to(dtype)
    product = matrix_product(network.sizes, batch, device, dtype)
    works: dict[str, Callable[[], object]] = {
        "network": lambda: network(ready),
        "model": lambda: model.embed(clips),
        "product": product,
    }
    with torch.inference_mode():
        # The first call on a GPU chooses kernels; on a CPU it would only take minutes more.
        warm_ups = 1 if device.type == "cuda" else 0
        rounds = [
            {name: seconds(work, device) for name, work in works.items()} for _ in range(options.rounds + warm_ups)
        ]
    report(rounds[warm_ups:], network.sizes, options.clips, batch, f"{device}, {str(dtype).removeprefix('torch.')}")


def random_network(device: torch.device, dtype: torch.dtype, sizes: NetworkSizes | None = None) -> InternVideo2Network:
    network = make_empty(sizes or NetworkSizes()).to_empty(device=device).to(dtype).requires_grad_(False)
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.normal_(std=0.02)
    return network


def matrix_product(sizes: NetworkSizes, batch: int, device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    tokens = torch.randn(batch * num_tokens(sizes), sizes.width, device=device, dtype=dtype)
    weights = torch.randn(sizes.mlp_width, sizes.width, device=device, dtype=dtype)
    return lambda: [torch.nn.functional.linear(tokens, weights) for _ in range(8)]


def num_tokens(sizes: NetworkSizes) -> int:
    return 1 + sizes.num_frames * sizes.grid**2


def clip_flop(sizes: NetworkSizes) -> float:
    """Operations for one clip: the matrix products and the attention of all blocks. The rest is below 1 %."""
    n, w = num_tokens(sizes), sizes.width
    return sizes.depth * (2.0 * n * w * (4 * w + 2 * sizes.mlp_width) + 4.0 * n * n * w)


def product_flop(sizes: NetworkSizes, batch: int) -> float:
    return 8 * 2.0 * batch * num_tokens(sizes) * sizes.width * sizes.mlp_width


def seconds(work: Callable[[], object], device: torch.device) -> float:
    def settle() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    settle()
    before = time.perf_counter()
    work()
    settle()
    return time.perf_counter() - before


def report(rounds: list[dict[str, float]], sizes: NetworkSizes, num_clips: int, batch: int, where: str) -> None:
    network_s = statistics.median(one["network"] for one in rounds) / batch
    model_s = statistics.median(one["model"] for one in rounds) / num_clips
    limit = product_flop(sizes, batch) / statistics.median(one["product"] for one in rounds)
    told = f"{where}, {num_clips} clips in batches of {batch}"
    for name, clip_s in (("network", network_s), ("model, from frames", model_s)):
        rate = clip_flop(sizes) / clip_s
        tell(f"{told}: {name}", 1 / clip_s, "clips/s")
        tell(f"{told}: {name}, {rate / 1e12:.3g} of {limit / 1e12:.3g} TFLOP/s", rate / limit, "of a matrix product")
    tell(f"{told}: the network's share of the model's time", network_s / model_s)


if __name__ == "__main__":
    main()
