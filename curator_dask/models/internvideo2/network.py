"""The video tower of InternVideo2 (stage 2), in plain torch, with the tensor names of the released checkpoint.

It follows OpenGVLab's InternVideo2 (https://github.com/OpenGVLab/InternVideo, multi_modality): a vision transformer
whose tokens are the 14x14 patches of all frames, pooled by attention to one vector. It has only the parts that embed a
video: 541 tensors of the 1B model. It leaves out the text tower and the heads used for distillation in training.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from curator_dask.errors import ModelError, ParameterError
from curator_dask.models.weights import Weights, require_keys

RMS_EPS = 1e-6
NOT_NEEDED = re.compile(
    r"(vision_encoder\.(clip_decoder\.[0-9]+|final_clip_decoder)|text_encoder|text_proj|itm_head)\."
    r"|vision_encoder\.clip_(img_)?pos_embed$|temp$"
)
"""Tensors of the released checkpoint that the embedding of a video does not need."""
_BLOCK = re.compile(r"vision_encoder\.blocks\.([0-9]{1,4})\.")
_MAX_SIZE = 65536


@dataclass(frozen=True, slots=True)
class NetworkSizes:
    """The sizes that define a network of this kind apart from its weights. The defaults are those of the 1B model."""

    width: int = 1408
    depth: int = 40
    mlp_width: int = 6144
    pooled_width: int = 768
    dimension: int = 512
    """The embedding's dimension D."""
    patch_px: int = 14
    grid: int = 16
    """Patches per side of a frame."""
    num_frames: int = 4
    num_heads: int = 16
    num_pool_heads: int = 16

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 1 <= getattr(self, name) <= _MAX_SIZE:
                raise ModelError(f"{name} ({getattr(self, name)}) of the network is not within 1 to {_MAX_SIZE}")
        for heads in (self.num_heads, self.num_pool_heads):
            if self.width % heads:
                raise ModelError(f"{heads} attention heads do not divide the network's width of {self.width}")

    @property
    def side_px(self) -> int:
        """The side of the square frames that the network was made for."""
        return self.grid * self.patch_px


def sizes_of(weights: Weights, *, num_heads: int = 16, num_pool_heads: int = 16) -> NetworkSizes:
    """The sizes that the shapes in a file imply. Shapes do not show the numbers of heads, so these are given.

    Raises ModelError if a tensor that shows a size is missing, or if tensors contradict each other.
    """
    axes = {"cls_token": 3, "pos_embed": 3, "img_pos_embed": 3, "patch_embed.proj.weight": 5}
    axes |= {"blocks.0.mlp.fc1.weight": 2, "clip_projector.cross_attn.proj.weight": 2}
    keys = {f"vision_encoder.{key}": num_axes for key, num_axes in axes.items()} | {"vision_proj.weight": 2}
    require_keys(weights, keys)
    for key, num_axes in keys.items():
        if len(weights.shapes[key]) != num_axes:
            raise ModelError(f"{weights.path}: {key} has the shape {weights.shapes[key]}, not one of {num_axes} axes")
    cls, pos, img_pos, patch, fc1, pooled, projected = (weights.shapes[key] for key in keys)
    patches = img_pos[1] - 1
    grid = math.isqrt(max(patches, 0))
    if patches < 1 or grid * grid != patches or (pos[1] - 1) % patches:
        raise ModelError(
            f"{weights.path}: position embeddings of {img_pos[1]} and {pos[1]} rows are not for square frames"
        )
    blocks = {int(match[1]) for key in weights.shapes if (match := _BLOCK.match(key))}
    return NetworkSizes(
        width=cls[2], depth=max(blocks) + 1, mlp_width=fc1[0], pooled_width=pooled[0], dimension=projected[0],
        patch_px=patch[-1], grid=grid, num_frames=(pos[1] - 1) // patches,
        num_heads=num_heads, num_pool_heads=num_pool_heads,
    )  # fmt: skip


def make_empty(sizes: NetworkSizes) -> InternVideo2Network:
    """Make the network on the meta device: it has shapes but no numbers, and takes no memory."""
    with torch.device("meta"):
        return InternVideo2Network(sizes).eval()


class InternVideo2Network(nn.Module):
    """Turns (B, T, 3, H, W) normalised RGB into (B, D) vectors of any length."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.vision_encoder = VisionEncoder(sizes)
        self.vision_proj = nn.Linear(sizes.pooled_width, sizes.dimension)

    def forward(self, video: Tensor) -> Tensor:
        pooled: Tensor = self.vision_encoder(video)
        projected: Tensor = self.vision_proj(pooled)
        return projected


class VisionEncoder(nn.Module):
    """Turns (B, T, 3, H, W) into (B, pooled_width). There is no norm between the last block and the pooling."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.grid_sizes = (sizes.num_frames, sizes.grid, sizes.grid)
        num_patches = sizes.grid**2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + sizes.num_frames * num_patches, sizes.width))
        self.img_pos_embed = nn.Parameter(torch.zeros(1, 1 + num_patches, sizes.width))
        self.patch_embed = PatchEmbed(sizes)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.depth))
        self.clip_projector = AttentionPool(sizes)

    def forward(self, video: Tensor) -> Tensor:
        positions = self.positions(*self.patch_embed.grid_of(video))
        patches = self.patch_embed(video)
        tokens = torch.cat([self.cls_token.expand(len(video), -1, -1), patches], dim=1) + positions
        for block in self.blocks:
            tokens = block(tokens)
        pooled: Tensor = self.clip_projector(tokens)
        return pooled

    def positions(self, num_frames: int, num_rows: int, num_columns: int) -> Tensor:
        """(1, 1 + T * rows * columns, width): as stored for the sizes used in training, else interpolated.

        A single frame has an embedding of its own.
        """
        new = (num_frames, num_rows, num_columns)
        if num_frames == 1:
            return interpolate_positions(self.img_pos_embed, (1, *self.grid_sizes[1:]), new)
        return interpolate_positions(self.pos_embed, self.grid_sizes, new)


def interpolate_positions(positions: Tensor, old: tuple[int, int, int], new: tuple[int, int, int]) -> Tensor:
    """Interpolate (1, 1 + T * rows * columns, C) to another number of frames (linear), then to another grid (bicubic).

    `old` and `new` are (T, rows, columns). The first row belongs to the class token and does not change.
    """
    first, grid = positions[:, :1], positions[0, 1:].float()
    if new[0] != old[0]:
        by_time = grid.reshape(old[0], -1).T[None]
        grid = functional.interpolate(by_time, size=new[0], mode="linear", align_corners=False)[0].T
    if new[1:] != old[1:]:
        by_place = grid.reshape(new[0], old[1], old[2], -1).permute(0, 3, 1, 2)
        grid = functional.interpolate(by_place, size=new[1:], mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    return torch.cat([first, grid.reshape(1, math.prod(new), -1).to(first.dtype)], dim=1)


class PatchEmbed(nn.Module):
    """Turns (B, T, 3, H, W) into (B, T * rows * columns, width), frame after frame, row after row."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.patch_px = sizes.patch_px
        self.proj = nn.Conv3d(3, sizes.width, (1, sizes.patch_px, sizes.patch_px))

    def forward(self, video: Tensor) -> Tensor:
        p = self.patch_px
        num_frames, num_rows, num_columns = self.grid_of(video)
        patches = video.reshape(len(video), num_frames, 3, num_rows, p, num_columns, p).permute(0, 1, 3, 5, 2, 4, 6)
        # A convolution with a stride equal to its kernel size is a matrix product.
        return functional.linear(patches.flatten(4).flatten(1, 3), self.proj.weight.flatten(1), self.proj.bias)

    def grid_of(self, video: Tensor) -> tuple[int, int, int]:
        """The grid (T, rows, columns). Raises ParameterError if frames do not divide into whole patches."""
        _, num_frames, _, height, width = video.shape
        if height % self.patch_px or width % self.patch_px:
            raise ParameterError(f"frames of {width}x{height} are not made of {self.patch_px}x{self.patch_px} patches")
        return num_frames, height // self.patch_px, width // self.patch_px


class Block(nn.Module):
    """Attention, then a two-layer perceptron. The input of each is normalised; its output is scaled and added to the input."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.norm1 = RMSNorm(sizes.width)
        self.attn = Attention(sizes)
        self.ls1 = LayerScale(sizes.width)
        self.norm2 = RMSNorm(sizes.width)
        self.mlp = Mlp(sizes)
        self.ls2 = LayerScale(sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        output: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return output


class RMSNorm(nn.Module):
    """Divides by the root mean square, in float32: in bfloat16 the mean squares of this network's tokens drift."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x.float(), x.shape[-1:], eps=RMS_EPS).to(x.dtype) * self.weight


class LayerScale(nn.Module):
    """Multiplies each channel by a factor, in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() * self.gamma.float()).to(x.dtype)


class Attention(nn.Module):
    """Self-attention whose queries and keys are normalised over the full width, before they are split into heads."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.num_heads = sizes.num_heads
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width, bias=False)
        self.q_norm = RMSNorm(sizes.width)
        self.k_norm = RMSNorm(sizes.width)
        self.proj = nn.Linear(sizes.width, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        attended: Tensor = self.proj(attend(self.q_norm(q), self.k_norm(k), v, self.num_heads))
        return attended


class Mlp(nn.Module):
    """A two-layer perceptron with the exact GELU: the tanh approximation changes the fifth digit of an embedding."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.fc1 = nn.Linear(sizes.width, sizes.mlp_width)
        self.fc2 = nn.Linear(sizes.mlp_width, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return output


class AttentionPool(nn.Module):
    """Turns (B, N, width) into (B, pooled_width): the mean of all tokens, class token included, attends to all of them."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.norm1_q = nn.LayerNorm(sizes.width)
        self.norm1_k = nn.LayerNorm(sizes.width)
        self.norm1_v = nn.LayerNorm(sizes.width)
        self.cross_attn = CrossAttention(sizes)

    def forward(self, x: Tensor) -> Tensor:
        query = self.norm1_q(x.mean(dim=1, keepdim=True))
        pooled: Tensor = self.cross_attn(query, self.norm1_k(x), self.norm1_v(x))
        return pooled[:, 0]


class CrossAttention(nn.Module):
    """Cross-attention. Its biases are separate from the linear layers, because the checkpoint names them so."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.num_heads = sizes.num_pool_heads
        self.q = nn.Linear(sizes.width, sizes.width, bias=False)
        self.k = nn.Linear(sizes.width, sizes.width, bias=False)
        self.v = nn.Linear(sizes.width, sizes.width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(sizes.width))
        self.k_bias = nn.Parameter(torch.zeros(sizes.width))
        self.v_bias = nn.Parameter(torch.zeros(sizes.width))
        self.proj = nn.Linear(sizes.width, sizes.pooled_width)

    def forward(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        q = functional.linear(query, self.q.weight, self.q_bias)
        k = functional.linear(keys, self.k.weight, self.k_bias)
        v = functional.linear(values, self.v.weight, self.v_bias)
        output: Tensor = self.proj(attend(q, k, v, self.num_heads))
        return output


def attend(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """Attend in heads: queries (B, M, C), keys and values (B, N, C) to (B, M, C). Scores are scaled by head width ** -0.5."""
    q, k, v = (t.reshape(*t.shape[:2], num_heads, -1).transpose(1, 2) for t in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
