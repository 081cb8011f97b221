"""EfficientNet-Lite0 without its classifier: 224x224 pictures → 1280 numbers each.

The plan is that of Tan and Le, https://arxiv.org/abs/1905.11946, as the Lite variant changes it: no squeeze-and-excite,
ReLU6 instead of Swish. Each block widens its input (1x1), filters every channel by itself (3x3 or 5x5), and narrows the
result (1x1). Batch normalisation is a scale and a shift for each channel once a network is trained, so it is folded into
the convolutions when the weights are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

SIDE_PX = 224
DIMENSION = 1280
_STEM_CHANNELS = 32
_NORM_EPSILON = 1e-3
# Repeats, kernel, stride of the first repeat, widening, output channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Convolution:
    """A convolution with its normalisation folded in, and ReLU6 where it is not the last of a block."""

    weight: torch.Tensor
    bias: torch.Tensor
    stride: int = 1
    groups: int = 1
    bounded: bool = True

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, D, ceil(H / stride), ceil(W / stride)): padded as TensorFlow's ``SAME``."""
        before, after = _same_padding(x.shape[-1], self.weight.shape[-1], self.stride)
        if before != after:
            x, before = functional.pad(x, (before, after, before, after)), 0
        y = functional.conv2d(x, self.weight, self.bias, self.stride, before, 1, self.groups)
        return y.clamp_(0, 6) if self.bounded else y


@dataclass(frozen=True)
class Block:
    """The convolutions of one block, and whether its input is added to what they give."""

    convolutions: tuple[Convolution, ...]
    skips: bool

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, D, ceil(H / stride), ceil(W / stride))."""
        y = x
        for convolution in self.convolutions:
            y = convolution(y)
        return y.add_(x) if self.skips else y


@dataclass(frozen=True)
class EffNetLite0:
    """The whole network. It is called under ``torch.inference_mode``."""

    stem: Convolution
    blocks: tuple[Block, ...]
    head: Convolution

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised (N, 3, 224, 224) pixels → (N, 1280), the mean over all places of the last layer."""
        x = self.stem(pixels.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        return self.head(x).mean(dim=(2, 3))


@dataclass(frozen=True)
class _Shape:
    """What a block is, without weights. `index` counts the blocks of the network from 0."""

    index: int
    kernel: int
    stride: int
    widening: int
    inputs: int
    outputs: int


def build_network(tensors: Tensors, device: torch.device, dtype: torch.dtype) -> EffNetLite0:
    """The network with weights of the names and shapes of :func:`weight_shapes`, on a device."""

    def make(name: str, norm: str, *, stride: int = 1, groups: int = 1, bounded: bool = True) -> Convolution:
        weight, bias = _folded(tensors, name, norm)
        weight = weight.to(device, dtype).contiguous(memory_format=torch.channels_last)
        return Convolution(weight, bias.to(device, dtype), stride, groups, bounded)

    blocks = tuple(_block(shape, make) for shape in _block_shapes())
    return EffNetLite0(make("_conv_stem", "_bn0", stride=2), blocks, make("_conv_head", "_bn1"))


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors that the network needs, by the names that its weight file has for them."""
    shapes = {
        "_conv_stem.weight": (_STEM_CHANNELS, 3, 3, 3),
        "_conv_head.weight": (DIMENSION, _STAGES[-1][-1], 1, 1),
        **_norm_shapes("_bn0", _STEM_CHANNELS),
        **_norm_shapes("_bn1", DIMENSION),
    }
    for shape in _block_shapes():
        shapes |= _shapes_of_block(shape)
    return shapes


def _block_shapes() -> Iterator[_Shape]:
    index, inputs = 0, _STEM_CHANNELS
    for repeats, kernel, first_stride, widening, outputs in _STAGES:
        for repeat in range(repeats):
            yield _Shape(index, kernel, 1 if repeat else first_stride, widening, inputs, outputs)
            index, inputs = index + 1, outputs


def _block(shape: _Shape, make: Callable[..., Convolution]) -> Block:
    prefix, wide = f"_blocks.{shape.index}.", shape.inputs * shape.widening
    convolutions = [
        make(f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride=shape.stride, groups=wide),
        make(f"{prefix}_project_conv", f"{prefix}_bn2", bounded=False),
    ]
    if shape.widening > 1:
        convolutions.insert(0, make(f"{prefix}_expand_conv", f"{prefix}_bn0"))
    return Block(tuple(convolutions), shape.stride == 1 and shape.inputs == shape.outputs)


def _shapes_of_block(shape: _Shape) -> dict[str, tuple[int, ...]]:
    prefix, wide = f"_blocks.{shape.index}.", shape.inputs * shape.widening
    widens: dict[str, tuple[int, ...]] = {}
    if shape.widening > 1:
        widens = {f"{prefix}_expand_conv.weight": (wide, shape.inputs, 1, 1), **_norm_shapes(f"{prefix}_bn0", wide)}
    return {
        **widens,
        f"{prefix}_depthwise_conv.weight": (wide, 1, shape.kernel, shape.kernel),
        **_norm_shapes(f"{prefix}_bn1", wide),
        f"{prefix}_project_conv.weight": (shape.outputs, wide, 1, 1),
        **_norm_shapes(f"{prefix}_bn2", shape.outputs),
    }


def _norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def _folded(tensors: Tensors, name: str, norm: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a convolution that also does the normalisation after it, computed in double precision."""
    scale, shift, mean, variance = (
        tensors[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / torch.sqrt(variance + _NORM_EPSILON)
    return tensors[f"{name}.weight"].double() * factor[:, None, None, None], shift - mean * factor


def _same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels to add before and after a side, so that its length becomes ceil(side / stride).

    >>> _same_padding(224, 3, 2)
    (0, 1)
    >>> _same_padding(112, 3, 1)
    (1, 1)
    """
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2
