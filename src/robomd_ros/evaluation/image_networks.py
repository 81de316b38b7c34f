"""The two image-only failure detectors that the paper compares with (Sec. 4.2, App. D.1).

A CNN of two 5x5 stride-2 convolutions (32, 64) and a 128-unit head; a ResNet-18 of half width (16-32-64-128), average
pool and a 64-unit head. Both read 84x84 RGB in 0..1: here the one frame before the policy moves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from robomd_ros.learning.inputs import resize_by_area

SIDE = 84
BATCH = 64


def cnn() -> nn.Module:
    """The 3-layer CNN."""
    flat = 64 * 18 * 18
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, stride=2), nn.ReLU(), nn.Conv2d(32, 64, 5, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(flat, 128), nn.ReLU(), nn.Linear(128, 1),
    )  # fmt: skip


class _Block(nn.Module):
    """A residual block of two 3x3 convolutions."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inside, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        same = inside == out and stride == 1
        self.short = nn.Identity() if same else nn.Conv2d(inside, out, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, out, H / stride, W / stride)."""
        return torch.relu(self.path(x) + self.short(x))


def half_resnet18() -> nn.Module:
    """ResNet-18 at half width; its first convolution keeps the small images' size halved only once."""
    widths = (16, 32, 64, 128)
    blocks: list[nn.Module] = []
    inside = widths[0]
    for i, width in enumerate(widths):
        blocks += [_Block(inside, width, 1 if i == 0 else 2), _Block(width, width, 1)]
        inside = width
    stem = [
        nn.Conv2d(3, widths[0], 7, 2, 3, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)]
    return nn.Sequential(*stem, *blocks, *head)


NETWORKS: dict[str, Callable[[], nn.Module]] = {"cnn": cnn, "resnet": half_resnet18}


def scores(
    network: str,
    images: NDArray[np.uint8],
    failed: NDArray[np.bool_],
    asked: NDArray[np.uint8],
    epochs: int,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Train on (M, H, W, 3) uint8 images and their outcomes; failure logits of the asked ones, (N,)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NETWORKS[network]()
        x, y = resize_by_area(images, SIDE, SIDE), torch.from_numpy(failed.astype(np.float32))
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(y)).split(BATCH):
                if len(rows) > 1:  # BatchNorm
                    loss = nn.functional.binary_cross_entropy_with_logits(
                        model(x[rows])[:, 0], y[rows]
                    )
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        model.eval()
        with torch.no_grad():
            shown = resize_by_area(asked, SIDE, SIDE).split(BATCH)
            return torch.cat([model(part)[:, 0] for part in shown]).double().numpy()
