"""A trained embedding: ask it, save it, load it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, StorageError
from robomd_ros.core.files import atomic_file, storage_error, write_atomic
from robomd_ros.learning.compact import CompactModel
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.inputs import Inputs
from robomd_ros.learning.risk import Layout, RiskPrior

SCHEMA = 2
BATCH = 64
_RISK = "risk."


@dataclass(frozen=True)
class Facts:
    """Where an embedding comes from.

    Attributes:
        seed: of the training.
        data_hash: SHA-256 of the rollouts.
        training_ids, heldout_ids: rollouts learnt from, and kept apart to measure.
        factors: names of the catalogue's numeric factors with their lengths, in the order of the factor vector.
        versions: of the libraries.
    """

    seed: int = 0
    data_hash: str = ""
    training_ids: tuple[str, ...] = ()
    heldout_ids: tuple[str, ...] = ()
    factors: tuple[tuple[str, int], ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


class Embedding:
    """Maps images, texts and factor values to points in which near means alike for the policy.

    Attributes:
        model, config, quality, facts: what it was made with.
        risk: what factor values alone say, for whoever holds the rollouts; None = nothing, as in the paper profile.
        id: changes with every weight.
    """

    dim = 512

    def __init__(
        self,
        model: nn.Module,
        config: EmbeddingConfig,
        *,
        quality: Mapping[str, float] | None = None,
        facts: Facts | None = None,
        risk: RiskPrior | None = None,
    ) -> None:
        self.model = model.eval()
        self.config = config
        self.quality = dict(quality or {})
        self.facts = facts or Facts()
        self.risk = risk
        self.id = f"{config.profile}-{_digest(model)}"

    def embed(self, inputs: Inputs) -> NDArray[np.float32]:
        """Embeddings, (N, 512) float32; missing inputs are allowed.

        Raises:
            InvalidArgumentError: the factor vector is not the one this embedding learnt.
        """
        want = sum(dim for _, dim in self.facts.factors)
        if inputs.factors.shape[1] != want:
            raise InvalidArgumentError(
                f"embedding {self.id} was learnt with {want} factor values, got {inputs.factors.shape[1]}: "
                "use the catalogue it was trained with, or train it again."
            )
        with torch.inference_mode():
            parts = [
                self.model(inputs[slice(i, i + BATCH)] if len(inputs) > BATCH else inputs)
                for i in range(0, len(inputs), BATCH)
            ]
            return (
                torch.cat(parts).float().cpu().numpy()
                if parts
                else np.zeros((0, self.dim), np.float32)
            )

    def failure_logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """The head's logit(failure) of embeddings, (N,) float32; not calibrated."""
        with torch.inference_mode():
            device = next(self.model.parameters()).device
            tensor = torch.from_numpy(np.ascontiguousarray(embeddings, np.float32)).to(device)
            return self.model.failure_logits(tensor).float().cpu().numpy()  # type: ignore[operator]

    def save(self, models_folder: str | Path) -> None:
        """Write embedding.safetensors, which holds everything, and embedding.json, its readable header.

        Raises:
            StorageError: the disk is full or the folder cannot be written; the old files stay.
        """
        folder = Path(models_folder)
        header = json.dumps(self.header(), indent=1)
        tensors = {k: v.cpu().contiguous() for k, v in self.model.state_dict().items()}
        theta = self.risk.theta if self.risk is not None else {}
        tensors |= {f"{_RISK}{name}": value.contiguous() for name, value in theta.items()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(folder, error) from error
        with atomic_file(folder / "embedding.safetensors") as temporary:
            try:
                save_file(tensors, temporary, metadata={"robomd": header})
            except SafetensorError as error:
                raise StorageError(f"cannot write the embedding in {folder}: {error}") from error
        write_atomic(folder / "embedding.json", header.encode())

    def header(self) -> dict[str, Any]:
        """Everything but the weights, as plain values."""
        return {
            "schema": SCHEMA,
            "id": self.id,
            "config": self.config.to_dict(),
            "quality": self.quality,
            "seed": self.facts.seed,
            "data_hash": self.facts.data_hash,
            "training_ids": list(self.facts.training_ids),
            "heldout_ids": list(self.facts.heldout_ids),
            "factors": [list(f) for f in self.facts.factors],
            "versions": dict(self.facts.versions),
            "risk": asdict(self.risk.layout) if self.risk is not None else None,
        }

    @staticmethod
    def saved_id(models_folder: str | Path) -> str:
        """Id of the embedding that `load` would read, from the file's header only; "" = none, or not readable."""
        try:
            with safe_open(str(Path(models_folder) / "embedding.safetensors"), "pt") as file:
                return str(json.loads((file.metadata() or {})["robomd"])["id"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return ""

    @classmethod
    def load(cls, models_folder: str | Path) -> Embedding:
        """Read what `save` wrote.

        Raises:
            NotReadyError: there is none yet.
            StorageError: the file is unreadable, damaged or of another version.
        """
        path = Path(models_folder) / "embedding.safetensors"
        if not path.is_file():
            raise NotReadyError(f"no embedding in {path.parent}: train it first.")
        try:
            with safe_open(str(path), framework="pt") as file:
                header = json.loads((file.metadata() or {})["robomd"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if header["schema"] != SCHEMA:
                raise ValueError(f"schema {header['schema']}, this program reads {SCHEMA}")
            config = EmbeddingConfig.from_dict(header["config"])
            risk = _risk(header.get("risk"), tensors)
            model = _empty_model(config, tensors)
            model.load_state_dict(tensors)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise StorageError(
                f"{path} is not a readable embedding ({error}): delete it and train again."
            ) from error
        facts = Facts(
            header["seed"],
            header["data_hash"],
            tuple(header["training_ids"]),
            tuple(header["heldout_ids"]),
            tuple((str(name), int(dim)) for name, dim in header["factors"]),
            header["versions"],
        )
        return cls(model, config, quality=header["quality"], facts=facts, risk=risk)


def _risk(layout: Mapping[str, Any] | None, tensors: dict[str, Tensor]) -> RiskPrior | None:
    """Take the risk's hyperparameters out of the tensors of a file."""
    names = [name for name in tensors if name.startswith(_RISK)]
    theta = {name.removeprefix(_RISK): tensors.pop(name) for name in names}
    if layout is None:
        return None
    sizes: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in layout.items()}
    return RiskPrior(Layout(**sizes), theta)


def _digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()[:12]


def _empty_model(config: EmbeddingConfig, tensors: Mapping[str, Tensor]) -> nn.Module:
    if config.profile == "paper":
        # Imported here: the towers' libraries take seconds, and the compact profile needs none of them.
        from robomd_ros.learning.paper import PaperModel

        return PaperModel(config)
    return CompactModel(config, np.zeros(len(tensors["nominal"]), np.float32))
