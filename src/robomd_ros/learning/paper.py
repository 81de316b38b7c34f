"""The paper profile (RoboMD Sec. 3.2, App. C.4): e = MLP_512(concat(W_v·ViT-B/16(image), CLIP-ViT-B/32-text(sentence)))."""

from __future__ import annotations

import logging

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ViT_B_16_Weights, vit_b_16

from robomd_ros.core.errors import StorageError
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.inputs import Inputs, resize_by_area
from robomd_ros.learning.paper_weights import image_state, text_state

DIM = 512
_CLIP = "ViT-B-32-quickgelu"  # OpenAI's weights were trained with QuickGELU
_IMAGENET = ViT_B_16_Weights.IMAGENET1K_V1.transforms()


class PaperModel(nn.Module):
    """Both towers, the 512-unit layer and the 1-unit head. Factor values are not used.

    A missing image or text is a zero vector in its half of the concatenation; training hides them at random.
    """

    def __init__(self, config: EmbeddingConfig) -> None:
        super().__init__()
        self.config = config
        self.image = vit_b_16(image_size=config.image_size)
        self.text = _text_tower()
        self.image.heads = nn.Linear(self.image.hidden_dim, DIM)  # W_v
        self.mlp = nn.Sequential(nn.Linear(2 * DIM, DIM), nn.ReLU())
        self.head = nn.Linear(DIM, 1)
        self.register_buffer("mean", torch.tensor(_IMAGENET.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_IMAGENET.std).view(1, 3, 1, 1))
        self._tokenize = open_clip.get_tokenizer(_CLIP)

    @classmethod
    def pretrained(cls, config: EmbeddingConfig) -> PaperModel:
        """With the weights the config names; random ones only where it says so.

        Raises:
            NotReadyError, UnavailableError, StorageError: see paper_weights.
        """
        if config.random_weights:
            return cls(config)
        image, text = image_state(config), text_state(config)
        model = cls(config)
        _load(model.image, image, "ViT-B/16", but=("heads.",))
        _load(model.text, text, "the CLIP text tower")
        return model

    def forward(self, inputs: Inputs) -> Tensor:
        """Embeddings, (N, 512)."""
        device = self.head.weight.device
        has_image = torch.from_numpy(inputs.image_mask).to(device)
        has_text = torch.tensor([bool(t) for t in inputs.texts], device=device)
        halves = torch.zeros(len(inputs), 2 * DIM, device=device)
        if has_image.any():
            size = self.config.image_size
            images = resize_by_area(inputs.images[inputs.image_mask], size, size).to(device)
            seen = self.image((images - self.get_buffer("mean")) / self.get_buffer("std"))
            halves[has_image, :DIM] = seen.float()
        if has_text.any():
            texts = [t for t in inputs.texts if t]
            halves[has_text, DIM:] = self.text(self._tokenize(texts).to(device)).float()
        points = self.mlp(halves).float()
        return functional.normalize(points, dim=1) if self.config.normalize else points

    def failure_logits(self, embeddings: Tensor) -> Tensor:
        """logit(failure), (N,)."""
        return self.head(embeddings).squeeze(1)


def _text_tower() -> nn.Module:
    log = logging.getLogger()
    level = log.level
    log.setLevel(
        logging.ERROR
    )  # open_clip warns about random weights, which are loaded a moment later
    try:
        return open_clip.create_model(_CLIP, pretrained=None, force_custom_text=True).text
    finally:
        log.setLevel(level)


def _load(
    module: nn.Module, state: dict[str, Tensor], what: str, but: tuple[str, ...] = ()
) -> None:
    kept = {k: v for k, v in state.items() if not k.startswith(but)} if but else state
    try:
        missing, unexpected = module.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        raise StorageError(f"the weight file of {what} does not fit: {error!s:.300}") from error
    missing = [k for k in missing if not (but and k.startswith(but))]
    unexpected = [k for k in unexpected if k != "attn_mask"]
    if missing or unexpected:
        raise StorageError(
            f"the weight file of {what} does not fit: {len(missing)} tensors missing, {len(unexpected)} unknown."
        )
