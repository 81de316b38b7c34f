"""The trained search policy: a density over the embedding, its untrained control, and the file that keeps both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.sac.policies import SACPolicy
from torch.distributions import Categorical, Normal

from robomd_ros.core.errors import NotReadyError, RobomdError, StorageError
from robomd_ros.core.files import storage_error, write_atomic
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.known import Floats, NearestIndex, Projection

SCHEMA = 1
TENSORS, FACTS = "search.safetensors", "search.json"
_SQUASH_LIMIT = 1.0 - 1e-6

Network = ActorCriticPolicy | SACPolicy


def build_network(config: SearchConfig, dim: int) -> Network:
    """The stable-baselines3 policy of a config; `dim` is the state's length (and the number of discrete actions)."""
    net = list(config.net)
    schedule = lambda _: config.learning_rate  # noqa: E731 (SB3 wants a schedule)
    states = spaces.Box(-np.inf, np.inf, (dim,), np.float32)
    box = spaces.Box(-config.box, config.box, (dim,), np.float32)
    if config.algorithm == "sac":
        return SACPolicy(states, box, schedule, net_arch=net)
    if config.algorithm == "discrete_ppo":
        states = spaces.Box(0.0, 1.0, (dim,), np.float32)
        return ActorCriticPolicy(states, spaces.Discrete(dim), schedule, net_arch=net)
    return ActorCriticPolicy(states, box, schedule, net_arch=net, log_std_init=config.log_std_init)


@dataclass(frozen=True)
class DiscreteActions:
    """The finite catalogue of a discrete search.

    Attributes:
        ids: A variation ids.
        embeddings: (A, D) mean known embedding of each; of the nearest relative where it was never tried alone.
    """

    ids: tuple[str, ...]
    embeddings: Floats


@dataclass(frozen=True)
class SearchPolicy:
    """pi^MD: asked with the nominal scene as its state.

    Attributes:
        config: how it was trained.
        projection: from the embedding to the space of the search.
        start: (D,) embedding of the nominal scene.
        trained, untrained: the networks after and before training, from the same initialisation.
        actions: of a discrete search, else None.
        facts: seed, versions, final reward, what it was trained on.
    """

    config: SearchConfig
    projection: Projection
    start: Floats
    trained: Network
    untrained: Network
    actions: DiscreteActions | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """Hash of everything that decides an answer."""
        digest = hashlib.sha256(json.dumps(self.config.to_json(), sort_keys=True).encode())
        for name, tensor in sorted(self._tensors().items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        return f"search-{self.config.algorithm}-{digest.hexdigest()[:12]}"

    def log_density(self, embeddings: ArrayLike) -> NDArray[np.float64]:
        """Density of the policy at embeddings: log pi^MD(a = e | nominal) (paper Sec. 3.4), (N, D) -> (N,).

        Of a discrete search: the log mass of the catalogue entry nearest to each embedding.
        """
        return self._log_density(self.trained, embeddings)

    def log_density_untrained(self, embeddings: ArrayLike) -> NDArray[np.float64]:
        """The same of the untrained control; for a Gaussian it ranks by the distance from the mean."""
        return self._log_density(self.untrained, embeddings)

    def log_mass(self) -> dict[str, float]:
        """Of a discrete search: log probability of each catalogue entry as the first one chosen; else empty."""
        if self.actions is None:
            return {}
        return dict(zip(self.actions.ids, self._logits(self.trained).tolist(), strict=True))

    def propose(self, n: int, rng: np.random.Generator) -> Floats:
        """Draw n actions from the policy at the nominal scene, as (n, D) embeddings."""
        if self.actions is not None:
            mass = np.exp(self._logits(self.trained))
            return self.actions.embeddings[rng.choice(len(mass), n, p=mass / mass.sum())]
        mean, std = self._gaussian(self.trained)
        points = mean + std * rng.standard_normal((n, len(mean)))
        if self.config.algorithm == "sac":
            points = self.config.box * np.tanh(points)
        return self.projection.lift(np.clip(points, -self.config.box, self.config.box))

    def save(self, folder: Path) -> None:
        """Write search.safetensors (which holds all) and search.json (the same facts for people), each atomically.

        Raises:
            StorageError: the disk is full or the folder cannot be written; the old files stay.
        """
        tensors = {k: v.contiguous() for k, v in self._tensors().items()}
        facts = {
            "schema": SCHEMA,
            "id": self.id,
            "config": self.config.to_json(),
            "scale": self.projection.scale,
            "action_ids": list(self.actions.ids) if self.actions else None,
            **self.facts,
        }
        text = json.dumps(facts, indent=2, sort_keys=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(folder, error) from error
        write_atomic(folder / TENSORS, save(tensors, metadata={"robomd": text}))
        write_atomic(folder / FACTS, text.encode())

    @staticmethod
    def saved_ids(folder: Path) -> tuple[str, str]:
        """Ids of the embedding and of the search that `load` would read, from the file's header; "" = none readable."""
        try:
            with safe_open(str(folder / TENSORS), "pt") as file:
                facts = json.loads((file.metadata() or {})["robomd"])
            return str(facts["embedding_id"]), str(facts["id"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError):
            return "", ""

    @classmethod
    def load(cls, folder: Path) -> SearchPolicy:
        """Read what `save` wrote; nothing is unpickled.

        Raises:
            NotReadyError: there is none yet.
            StorageError: the file is damaged or of another version.
        """
        path = folder / TENSORS
        if not path.is_file():
            raise NotReadyError(f"no search policy in {folder}: train it first.")
        try:
            with safe_open(str(path), framework="pt") as file:
                facts = json.loads(file.metadata()["robomd"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            policy = cls._assemble(facts, tensors)
        except (
            SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError, RobomdError,
        ) as error:  # fmt: skip
            raise StorageError(
                f"{path} is damaged or of another version ({error}): train the search again."
            ) from error
        if policy.id != facts["id"]:
            raise StorageError(f"{path} is damaged (its content hash differs): train it again.")
        return policy

    @classmethod
    def _assemble(cls, facts: dict[str, Any], tensors: dict[str, torch.Tensor]) -> SearchPolicy:
        if facts["schema"] != SCHEMA:
            raise StorageError(f"schema {facts['schema']}, this version reads {SCHEMA}")
        config = SearchConfig.from_json(facts["config"])
        array = {k: t.numpy() for k, t in tensors.items() if "/" not in k}
        projection = Projection(array["mean"], array["components"], float(facts["scale"]))
        ids = facts["action_ids"]
        actions = DiscreteActions(tuple(ids), array["action_embeddings"]) if ids else None
        dim = len(actions.ids) if actions else len(projection.components)
        networks = {}
        for name in ("trained", "untrained"):
            with torch.random.fork_rng(devices=[]):
                network = build_network(config, dim)
            own = {
                k.removeprefix(name + "/"): v
                for k, v in tensors.items()
                if k.startswith(name + "/")
            }
            network.load_state_dict(own)
            networks[name] = network.eval()
        reserved = {"schema", "id", "config", "scale", "action_ids"}
        rest = {k: v for k, v in facts.items() if k not in reserved}
        return cls(config, projection, array["start"], actions=actions, facts=rest, **networks)

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {
            f"{name}/{k}": v.detach().clone()
            for name, network in (("trained", self.trained), ("untrained", self.untrained))
            for k, v in network.state_dict().items()
        }
        arrays = {
            "mean": self.projection.mean,
            "components": self.projection.components,
            "start": self.start,
        }
        if self.actions is not None:
            arrays["action_embeddings"] = self.actions.embeddings
        return tensors | {k: torch.tensor(np.asarray(v, np.float32)) for k, v in arrays.items()}

    def _log_density(self, network: Network, embeddings: ArrayLike) -> NDArray[np.float64]:
        if self.actions is not None:
            nearest, _ = self._action_index.nearest(embeddings)
            return self._logits(network)[nearest]
        points = self.projection.apply(embeddings).astype(np.float64)
        mean, std = self._gaussian(network)
        correction = 0.0
        if self.config.algorithm == "sac":  # change of variables of a = box * tanh(u)
            squashed = np.clip(points / self.config.box, -_SQUASH_LIMIT, _SQUASH_LIMIT)
            points = np.arctanh(squashed)
            correction = np.log(self.config.box * (1.0 - squashed**2)).sum(axis=1)
        z = (points - mean) / std
        return -0.5 * (z**2).sum(1) - np.log(std * np.sqrt(2 * np.pi)).sum() - correction

    @cached_property
    def _action_index(self) -> NearestIndex:
        if self.actions is None:
            raise NotReadyError("a continuous search has no catalogue of actions.")
        return NearestIndex(self.actions.embeddings)

    def _state(self) -> torch.Tensor:
        return torch.tensor(self.projection.apply(self.start[None]), dtype=torch.float32)

    def _gaussian(self, network: Network) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of the action at the nominal scene, (d,) each; before tanh for SAC."""
        with torch.no_grad():
            if isinstance(network, SACPolicy):
                mean, log_std, _ = network.actor.get_action_dist_params(self._state())
                std = log_std.exp()
            else:
                normal = cast(Normal, network.get_distribution(self._state()).distribution)
                mean, std = normal.mean, normal.stddev
        return mean[0].double().numpy(), std[0].double().numpy()

    def _logits(self, network: Network) -> NDArray[np.float64]:
        """(A,) log probabilities of the first action."""
        count = len(self.actions.ids) if self.actions else 0
        with torch.no_grad():
            network = cast(ActorCriticPolicy, network)
            first = cast(Categorical, network.get_distribution(torch.zeros(1, count)).distribution)
        return first.logits[0].double().numpy()
