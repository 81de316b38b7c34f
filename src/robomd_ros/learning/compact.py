"""The compact profile: a small CNN, a frozen sentence encoder and an encoder of factor values, fused to 512 numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robomd_ros.core.variations import Catalogue
from robomd_ros.learning import sentences
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.inputs import Inputs, resize_by_area

DIM = 512
MEMBERS = 4
"""The embedding is this many blocks, each learnt from its own start: their mean logit is an ensemble's."""
IMAGE_FEATURES = 128
_HIDDEN = 128


@dataclass(frozen=True)
class Encoded:
    """Inputs after the encoders that stay fixed while the fusion is learnt; all (N, ...).

    Attributes:
        image: (N, IMAGE_FEATURES).
        has_image, has_text, has_factors: (N,) float 0/1.
        sentences: (N, S, sentences.DIM), and sentence_mask (N, S) bool.
        factors: (N, 2 F): values, nominal where not applied; then the mask of applied ones.
    """

    image: Tensor
    has_image: Tensor
    sentences: Tensor
    sentence_mask: Tensor
    has_text: Tensor
    factors: Tensor
    has_factors: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: Tensor) -> Encoded:
        """The rows of an index tensor."""
        return Encoded(*(getattr(self, f.name)[rows] for f in fields(self)))

    @staticmethod
    def join(parts: Sequence[Encoded]) -> Encoded:
        """One after the other; texts are padded to as many sentences."""
        longest = max(p.sentence_mask.shape[1] for p in parts)
        padded = []
        for p in parts:
            more = longest - p.sentence_mask.shape[1]
            vectors = functional.pad(p.sentences, (0, 0, 0, more))
            padded.append(
                replace(
                    p, sentences=vectors, sentence_mask=functional.pad(p.sentence_mask, (0, more))
                )
            )
        return Encoded(*(torch.cat([getattr(p, f.name) for p in padded]) for f in fields(Encoded)))

    def hide(self, image: Tensor, text: Tensor, factors: Tensor) -> Encoded:
        """The same with inputs hidden where a (N,) bool is True."""
        return Encoded(
            self.image,
            self.has_image * ~image,
            self.sentences,
            self.sentence_mask,
            self.has_text * ~text,
            self.factors,
            self.has_factors * ~factors,
        )


class ImageEncoder(nn.Module):
    """Four convolutions and a linear layer; small enough to be learnt from some hundred frames."""

    def __init__(self, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in (16, 32, 48, 64):
            kernel = 5 if channels == 3 else 3
            layers += [
                nn.Conv2d(channels, width, kernel, stride=2, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        side = -(-size // 16)
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels * side * side, IMAGE_FEATURES)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, size, size) in 0..1 to (N, IMAGE_FEATURES)."""
        return self.layers(images * 2.0 - 1.0)


class SentenceTower(nn.Module):
    """The sentences of a text, each mapped on its own and then summed: their order does not matter."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(sentences.DIM, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU()
        )

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """(N, S, sentences.DIM) and (N, S) bool to (N, _HIDDEN)."""
        text = torch.zeros(len(mask), _HIDDEN, device=vectors.device)
        return text.index_add(0, mask.nonzero()[:, 0], self.layers(vectors[mask]))


class Member(nn.Module):
    """One block of the embedding: a layer or two an input, then two layers over all of them."""

    def __init__(self, factor_dim: int, dim: int) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(IMAGE_FEATURES, _HIDDEN), nn.ReLU())
        self.text = nn.Sequential(nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU())
        self.factors = nn.Sequential(
            nn.Linear(2 * factor_dim + 1, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(),
        )
        self.fuse = nn.Sequential(
            nn.Linear(3 * _HIDDEN + 3, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim)
        )

    def forward(self, image: Tensor, text: Tensor, factors: Tensor, masks: Tensor) -> Tensor:
        """(N, dim) of the encoded inputs and of the masks (N, 3) that say which are there."""
        parts = [
            self.image(image) * masks[:, :1],
            self.text(text) * masks[:, 1:2],
            self.factors(torch.cat([factors, masks[:, 2:]], 1)) * masks[:, 2:],
            masks,
        ]
        return self.fuse(torch.cat(parts, 1))


class CompactModel(nn.Module):
    """Image, text and factor values to a 512-vector, and that to logit(failure)."""

    def __init__(
        self,
        config: EmbeddingConfig,
        nominal: NDArray[np.float32],
    ) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("nominal", torch.from_numpy(nominal))
        self.images = ImageEncoder(config.image_size)
        self.text = SentenceTower()
        self.members = nn.ModuleList(Member(len(nominal), DIM // MEMBERS) for _ in range(MEMBERS))
        self.heads = nn.ModuleList(nn.Linear(DIM // MEMBERS, 1) for _ in range(MEMBERS))

    def encode(self, inputs: Inputs) -> Encoded:
        """Everything before the fusion."""
        n = len(inputs)
        if inputs.image_mask.any():
            size = self.config.image_size
            image = self.images(resize_by_area(inputs.images, size, size))
        else:
            image = torch.zeros(n, IMAGE_FEATURES)
        has_text = torch.tensor([bool(t) for t in inputs.texts], dtype=torch.float32)
        if has_text.any():
            vectors, mask = sentences.sentence_encoder().encode(inputs.texts)
        else:
            vectors, mask = torch.zeros(n, 1, sentences.DIM), torch.zeros(n, 1).bool()
        return Encoded(
            image,
            torch.from_numpy(inputs.image_mask).float(),
            vectors,
            mask,
            has_text,
            self.factor_features(inputs),
            torch.from_numpy(inputs.factors_known).float(),
        )

    def factor_features(self, inputs: Inputs) -> Tensor:
        """(N, 2 F): values, nominal where not applied, and the mask of applied ones."""
        mask = torch.from_numpy(inputs.factor_mask)
        values = torch.where(mask, torch.from_numpy(inputs.factors), self.get_buffer("nominal"))
        return torch.cat([values, mask.float()], 1)

    def fuse(self, encoded: Encoded) -> Tensor:
        """(N, 512)."""
        x = encoded
        text = self.text(x.sentences, x.sentence_mask)
        masks = torch.stack([x.has_image, x.has_text, x.has_factors], 1)
        blocks = [member(x.image, text, x.factors, masks) for member in self.members]
        if self.config.normalize:
            blocks = [functional.normalize(b, dim=1) / MEMBERS**0.5 for b in blocks]
        return torch.cat(blocks, 1)

    def forward(self, inputs: Inputs) -> Tensor:
        """Embeddings, (N, 512)."""
        return self.fuse(self.encode(inputs))

    def member_logits(self, embeddings: Tensor) -> Tensor:
        """logit(failure) of each block, (N, MEMBERS)."""
        blocks = embeddings.chunk(MEMBERS, dim=1)
        # Back from the unit sphere to numbers of variance 1: a head on smaller ones hardly starts to learn.
        scale = DIM**0.5 if self.config.normalize else 1.0
        heads = [head(b * scale) for head, b in zip(self.heads, blocks, strict=True)]
        return torch.cat(heads, 1)

    def failure_logits(self, embeddings: Tensor) -> Tensor:
        """logit(failure), (N,): the mean over the blocks, linear in the embedding."""
        return self.member_logits(embeddings).mean(1)


def nominal_vector(catalogue: Catalogue) -> NDArray[np.float32]:
    """(F,) value of each unchanged factor in -1..1; 0 for one that has none, such as a textured colour."""
    parts = [
        f.normalize(f.nominal) if f.nominal else np.zeros(f.dim, np.float32)
        for f in catalogue.numeric_factors
    ]
    return np.concatenate([np.zeros(0, np.float32), *parts])
