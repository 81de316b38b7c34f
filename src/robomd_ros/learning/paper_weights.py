"""Pretrained weights of the paper profile: from a file, from the libraries' caches, or a download that was asked for."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from open_clip.model import convert_to_custom_text_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import ViT_B_16_Weights

from robomd_ros.core.errors import NotReadyError, StorageError, UnavailableError
from robomd_ros.learning.config import EmbeddingConfig

State = dict[str, Tensor]

CLIP_REPOSITORY = "timm/vit_base_patch32_clip_224.openai"
CLIP_FILE = "open_clip_model.safetensors"
_VIT = ViT_B_16_Weights.IMAGENET1K_V1
_HINT = (
    "fetch both sets with `robomd train embedding STUDY --profile paper --download`, name files with "
    "image_weights and text_weights, or use the compact profile, which needs none."
)


def image_state(config: EmbeddingConfig) -> State:
    """ViT-B/16 IMAGENET1K_V1, torchvision's key names.

    Raises:
        NotReadyError: nowhere to be found, and no download allowed.
        UnavailableError: the download failed.
        StorageError: the file is not what it should be.
    """
    name = _VIT.url.rsplit("/", 1)[1]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name

    def download() -> Path:
        cached.parent.mkdir(parents=True, exist_ok=True)
        digest = name.rsplit("-", 1)[1].removesuffix(".pth")
        torch.hub.download_url_to_file(_VIT.url, str(cached), digest, progress=True)
        return cached

    return _read(_locate("ViT-B/16", config.image_weights, cached, config.allow_download, download))


def text_state(config: EmbeddingConfig) -> State:
    """Text tower of OpenAI CLIP ViT-B/32, key names of open_clip's TextTransformer; errors as `image_state`."""
    found = try_to_load_from_cache(CLIP_REPOSITORY, CLIP_FILE)
    cached = Path(found) if isinstance(found, str) else None
    path = _locate(
        "CLIP ViT-B/32",
        config.text_weights,
        cached,
        config.allow_download,
        lambda: Path(hf_hub_download(CLIP_REPOSITORY, CLIP_FILE)),
    )
    whole = convert_to_custom_text_state_dict(_read(path))
    text = {k.removeprefix("text."): v for k, v in whole.items() if k.startswith("text.")}
    if not text:
        raise StorageError(f"{path} holds no text tower of CLIP ViT-B/32.")
    return text


def _locate(
    what: str, given: str, cached: Path | None, allowed: bool, download: Callable[[], Path]
) -> Path:
    if given:
        path = Path(given).expanduser()
        if not path.is_file():
            raise NotReadyError(f"no file {path} with the weights of {what}.")
        return path
    if cached is not None and cached.is_file():
        return cached
    if not allowed:
        raise NotReadyError(f"the weights of {what} are not on this machine: {_HINT}")
    try:
        return download()
    except Exception as error:  # a dozen network errors of two libraries, and all mean the same
        raise UnavailableError(
            f"the weights of {what} could not be fetched ({type(error).__name__}: {error:.200}): {_HINT}"
        ) from error


def _read(path: Path) -> State:
    """Tensors only: a pickle that holds anything else is refused."""
    try:
        if path.suffix == ".safetensors":
            return load_file(str(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state) if isinstance(state, dict) else state
        if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
            raise ValueError("not a dictionary of tensors")
        return state
    except (OSError, SafetensorError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise StorageError(f"{path} is not a readable weight file: {error!s:.200}") from error
