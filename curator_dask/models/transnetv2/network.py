"""TransNet V2, a network that finds changes of shots (Souček and Lokoč, 2020), for inference.

Frames pass through three stages of dilated 3D convolutions, which see up to 8 frames to each side per layer. Besides, each
frame is compared with its 50 neighbours on each side, by what the stages found in it and by its colours. A head says for each
frame whether it is the middle of a change. The published network has another head, which says whether a frame belongs to a
change at all; it helps in training and is left out here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

HEIGHT, WIDTH = 27, 48
LOOKUP = 101
"""Frames that each frame is compared with, itself in the middle."""
_DILATIONS = (1, 2, 4, 8)
_FILTERS = (16, 32, 64)
_FEATURES = 128
_HIDDEN = 1024
_BITS = 3
"""Of each colour, in a bin of the histogram."""


class TransNetV2(nn.Module):
    """Maps (B, T, 27, 48, 3) uint8 RGB to (B, T): the probability that a frame is the last one before a change."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *(4 * filters for filters in _FILTERS))
        self.SDDCNN = nn.ModuleList(Stage(inputs[number], filters) for number, filters in enumerate(_FILTERS))
        self.frame_sim_layer = FrameSimilarity(sum(inputs[1:]))
        self.color_hist_layer = ColourSimilarity()
        pooled = inputs[-1] * (HEIGHT // 8) * (WIDTH // 8)
        self.fc1 = nn.Linear(pooled + 2 * _FEATURES, _HIDDEN)
        self.cls_layer1 = nn.Linear(_HIDDEN, 1)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.permute(0, 4, 1, 2, 3).float() / 255.0
        found = []
        for stage in self.SDDCNN:
            x = stage(x)
            found.append(x)
        flat = x.permute(0, 2, 3, 4, 1).flatten(2)
        x = torch.cat([self.color_hist_layer(frames), self.frame_sim_layer(found), flat], dim=2)
        return torch.sigmoid(self.cls_layer1(functional.relu(self.fc1(x)))).squeeze(2)


class Stage(nn.Module):
    """Two cells, of which the first is a shortcut, and a pooling of 2x2 pixels."""

    def __init__(self, num_inputs: int, num_filters: int) -> None:
        super().__init__()
        self.DDCNN = nn.ModuleList([Cell(num_inputs, num_filters), Cell(4 * num_filters, num_filters)])

    def forward(self, x: Tensor) -> Tensor:
        first = functional.relu(self.DDCNN[0](x))
        second = functional.relu(self.DDCNN[1](first))
        return functional.avg_pool3d(first + second, kernel_size=(1, 2, 2))


class Cell(nn.Module):
    """Four convolutions side by side, which see frames at distances of 1, 2, 4 and 8."""

    def __init__(self, num_inputs: int, num_filters: int) -> None:
        super().__init__()
        for dilation in _DILATIONS:
            self.add_module(f"Conv3D_{dilation}", Convolution(num_inputs, num_filters, dilation))
        self.bn = Normalisation(4 * num_filters)

    def forward(self, x: Tensor) -> Tensor:
        seen = [getattr(self, f"Conv3D_{dilation}")(x) for dilation in _DILATIONS]
        normal: Tensor = self.bn(torch.cat(seen, dim=1))
        return normal


class Normalisation(nn.Module):
    """Batch normalisation with the means and variances of the training."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(num_channels)), nn.Parameter(torch.zeros(num_channels))
        self.running_mean, self.running_var = nn.Buffer(torch.zeros(num_channels)), nn.Buffer(torch.ones(num_channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=1e-3)


class Convolution(nn.Module):
    """A 3D convolution in two steps: over the pixels of each frame, then over three frames."""

    def __init__(self, num_inputs: int, num_filters: int, dilation: int) -> None:
        super().__init__()
        spatial = nn.Conv3d(num_inputs, 2 * num_filters, (1, 3, 3), padding=(0, 1, 1), bias=False)
        temporal = nn.Conv3d(
            2 * num_filters, num_filters, (3, 1, 1), dilation=(dilation, 1, 1), padding=(dilation, 0, 0), bias=False
        )
        self.layers = nn.Sequential(spatial, temporal)

    def forward(self, x: Tensor) -> Tensor:
        convolved: Tensor = self.layers(x)
        return convolved


class FrameSimilarity(nn.Module):
    """How much each frame is like its neighbours, by the means of what the stages found in it."""

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.projection = nn.Linear(num_inputs, _FEATURES)
        self.fc = nn.Linear(LOOKUP, _FEATURES)

    def forward(self, found: Sequence[Tensor]) -> Tensor:
        means = torch.cat([x.mean(dim=(3, 4)) for x in found], dim=1).transpose(1, 2)
        likeness: Tensor = self.fc(likeness_of_neighbours(self.projection(means)))
        return functional.relu(likeness)


class ColourSimilarity(nn.Module):
    """How much each frame is like its neighbours, by their colours."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(LOOKUP, _FEATURES)

    def forward(self, frames: Tensor) -> Tensor:
        likeness: Tensor = self.fc(likeness_of_neighbours(colour_histograms(frames)))
        return functional.relu(likeness)


def colour_histograms(frames: Tensor) -> Tensor:
    """(B, T, 512) float32: how many pixels have the same highest three bits of red, green and blue."""
    red, green, blue = (frames.long() >> (8 - _BITS)).flatten(2, 3).unbind(dim=3)
    bins = (red << (2 * _BITS)) + (green << _BITS) + blue
    counts = torch.zeros(*bins.shape[:2], 1 << (3 * _BITS), device=frames.device)
    return counts.scatter_add_(2, bins, torch.ones_like(bins, dtype=counts.dtype))


def likeness_of_neighbours(features: Tensor) -> Tensor:
    """(B, T, 101): cosines of each frame's (B, T, D) features with those of its neighbours; 0 beyond the ends."""
    unit = functional.normalize(features, dim=2)
    cosines = functional.pad(unit @ unit.transpose(1, 2), (LOOKUP // 2, LOOKUP // 2))
    num_frames = features.shape[1]
    offsets = torch.arange(num_frames, device=features.device)[:, None] + torch.arange(LOOKUP, device=features.device)
    return cosines.gather(2, offsets.expand(len(features), -1, -1))
