"""Trains a policy with robomimic's own code: `python robomimic_training.py REQUEST.json`, in the sidecar's environment.

robomimic's datasets, algorithms, epochs and checkpoints, sized for one core of a CPU. Added around them, and nowhere in the checkpoint: random
gains of the colour channels (without them every change of a colour is fatal, and nothing about a policy is graded), and
bfloat16 where the processor has it. Says one line of JSON an epoch on standard output.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

METADATA_KEY = "robomd"
IMAGE = "agentview_image"
STEPS_AN_EPOCH = 50
FINE_FROM = 0.75
"""Share of the training after which the learning rate is a tenth."""


@dataclass(frozen=True)
class Recipe:
    """How one algorithm is trained.

    Attributes:
        name: robomimic's name of the algorithm.
        batch: sequences a step.
        steps: gradient steps.
        learning_rate: of all its networks.
        frames: observations the policy is shown at once.
        sequence: control steps a sequence has, where the policy has a memory.
    """

    name: str
    batch: int
    steps: int
    learning_rate: float = 1e-3
    frames: int = 1
    sequence: int = 1


RECIPES: Mapping[str, Recipe] = {
    "bc": Recipe("bc", 64, 2400),
    "bc_rnn": Recipe("bc", 10, 1800, sequence=10),
    "bc_transformer": Recipe("bc", 16, 1800, frames=6),
    "bcq": Recipe("bcq", 64, 1400),
    "hbc": Recipe("hbc", 16, 1800, sequence=5),
    "iql": Recipe("iql", 64, 1700),
}


def configure(algo: str, recipe: Recipe, data: str, states: list[str], horizon: int) -> Any:
    """The defaults of robomimic, changed where a CPU or a demonstration of twenty steps asks for it."""
    from robomimic.config import config_factory

    config = config_factory(recipe.name)
    with config.values_unlocked():
        config.experiment.validate = False
        config.experiment.rollout.horizon = horizon
        config.train.data = data
        config.train.cuda = False
        config.train.batch_size = recipe.batch
        config.train.frame_stack, config.train.seq_length = recipe.frames, recipe.sequence
        planner = config.observation.planner if recipe.name == "hbc" else config.observation
        _observe(planner, states, [IMAGE])
        if recipe.name == "hbc":
            # the actor sees, too: a planner of subgoals five steps ahead is not exact enough for a small cube
            _observe(config.observation.actor, states, [IMAGE])
            planner.modalities.subgoal.low_dim = states
        _ALGORITHMS[algo](config.algo, recipe)
    for part in _optimisers(config.algo):
        with part.unlocked():
            part.learning_rate.initial = recipe.learning_rate
    config.lock()
    return config


def _observe(observation: Any, states: list[str], cameras: list[str]) -> None:
    observation.modalities.obs.low_dim = states
    observation.modalities.obs.rgb = cameras
    rgb = observation.encoder.rgb
    with rgb.unlocked():
        rgb.core_kwargs.feature_dimension = None  # the keypoints themselves
        rgb.core_kwargs.backbone_class = "ShallowConv"
        rgb.core_kwargs.backbone_kwargs = {"input_channel": 3, "output_channel": 32}
        rgb.core_kwargs.pool_class = "SpatialSoftmax"
        rgb.core_kwargs.pool_kwargs = {"num_kp": 32, "temperature": 1.0, "noise_std": 0.0}


def _bc(algo: Any, recipe: Recipe) -> None:
    algo.actor_layer_dims = (256, 256)


def _bc_rnn(algo: Any, recipe: Recipe) -> None:
    algo.actor_layer_dims = ()
    algo.rnn.enabled, algo.rnn.horizon = True, recipe.sequence
    algo.rnn.hidden_dim, algo.rnn.num_layers = 256, 1


def _bc_transformer(algo: Any, recipe: Recipe) -> None:
    algo.actor_layer_dims = ()
    transformer = algo.transformer
    transformer.enabled, transformer.context_length = True, recipe.frames
    transformer.embed_dim, transformer.num_layers, transformer.num_heads = 128, 2, 4
    transformer.emb_dropout = transformer.attn_dropout = transformer.block_output_dropout = 0.0
    transformer.supervise_all_steps = True


def _bcq(algo: Any, recipe: Recipe) -> None:
    # each critic and each sampled action is a pass of the image more: few of them
    algo.critic.ensemble.n = 1
    algo.critic.num_action_samples, algo.critic.num_action_samples_rollout = 2, 5
    algo.action_sampler.vae.latent_dim, algo.action_sampler.vae.kl_weight = 4, 0.05
    algo.action_sampler.actor_layer_dims = (256, 256)


def _hbc(algo: Any, recipe: Recipe) -> None:
    # a planner that regresses the subgoal: the variational one needs an encoder more
    algo.planner.vae.enabled = False
    algo.planner.subgoal_horizon = algo.subgoal_update_interval = recipe.sequence
    algo.actor.rnn.horizon, algo.actor.rnn.hidden_dim, algo.actor.rnn.num_layers = (
        recipe.sequence,
        256,
        1,
    )
    algo.actor.actor_layer_dims = ()


def _iql(algo: Any, recipe: Recipe) -> None:
    algo.actor.net.common.use_tanh = False
    # A learnt deviation falls to its limit where the expert never turns the hand, and the likelihood of that drowns the rest.
    algo.actor.net.gaussian.fixed_std = True
    algo.actor.layer_dims = algo.critic.layer_dims = (256, 256)
    algo.critic.ensemble.n = 1


_ALGORITHMS = {
    "bc": _bc,
    "bc_rnn": _bc_rnn,
    "bc_transformer": _bc_transformer,
    "bcq": _bcq,
    "hbc": _hbc,
    "iql": _iql,
}


def _optimisers(algo: Any) -> list[Any]:
    """The settings of every optimiser, those of the parts of a hierarchy, too."""
    groups = [algo] + [algo[name] for name in ("planner", "actor") if name in algo]
    return [
        part for group in groups if "optim_params" in group for part in group.optim_params.values()
    ]


def vary_colours(
    batch: dict[str, Any], generator: Any, overall: float = 0.3, channel: float = 0.2
) -> dict[str, Any]:
    """Gains of the image as a whole and of each channel, one draw a sequence, the same for its next observations."""
    import torch

    count = batch["actions"].shape[0]
    draw = torch.rand((count, 4), generator=generator) * 2 - 1
    gains = (1 + overall * draw[:, :1]) * (1 + channel * draw[:, 1:])
    for part in ("obs", "next_obs"):
        if IMAGE in batch.get(part, {}):
            image = batch[part][IMAGE].float() * gains[:, None, None, None, :]
            batch[part][IMAGE] = image.clamp_(0, 255)
    return batch


class ColourLoader:
    """A data loader whose batches went through `vary_colours`."""

    def __init__(self, loader: Any, seed: int) -> None:
        import torch

        self.loader, self.generator = loader, torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Any:
        return (vary_colours(batch, self.generator) for batch in self.loader)


def train(request: Mapping[str, Any], say: Callable[[dict[str, float]], None]) -> None:
    """Train and save.

    Args:
        request: data (an HDF5 file), out (of the checkpoint), algo, seed, steps (0 = the recipe's), minutes (at most; 0 = any).
        say: told a dict an epoch.
    """
    import robomimic.utils.file_utils as file_utils
    import robomimic.utils.train_utils as train_utils
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(request["seed"])
    recipe = RECIPES[request["algo"]]
    if request["steps"]:
        recipe = replace(recipe, steps=request["steps"])
    environment = file_utils.get_env_metadata_from_dataset(request["data"])
    said = environment[METADATA_KEY]
    config = configure(request["algo"], recipe, request["data"], said["states"], said["horizon"])
    model, dataset, shapes = _build(config)
    steps = 0
    for steps, spent, losses in _epochs(model, dataset, recipe, request):
        say({"step": steps, "seconds": spent} | losses)
    environment[METADATA_KEY] |= {"algo": request["algo"], "steps": steps, "seed": request["seed"]}
    partial = f"{request['out']}.part"
    train_utils.save_model(model, config, environment, shapes, partial)
    os.replace(partial, request["out"])


def _build(config: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Model, dataset and shapes, as robomimic's own training script makes them."""
    import robomimic.utils.file_utils as file_utils
    import robomimic.utils.obs_utils as obs_utils
    import robomimic.utils.train_utils as train_utils
    import torch
    from robomimic.algo import algo_factory

    obs_utils.initialize_obs_utils_with_config(config)
    shapes = file_utils.get_shape_metadata_from_dataset(config.train.data, config.all_obs_keys)
    dataset, _ = train_utils.load_data_for_training(config, obs_keys=shapes["all_obs_keys"])
    model = algo_factory(
        config.algo_name, config, shapes["all_shapes"], shapes["ac_dim"], torch.device("cpu")
    )
    for part in _parts(model):
        part.nets.to(memory_format=torch.channels_last)  # faster; the weights stay what they are
    return model, dataset, shapes


def _epochs(
    model: Any, dataset: Any, recipe: Recipe, request: Mapping[str, Any]
) -> Iterator[tuple[int, float, dict[str, float]]]:
    """Train; steps done, seconds spent and losses after each epoch."""
    import robomimic.utils.train_utils as train_utils
    import torch

    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=min(recipe.batch, len(dataset)),
        shuffle=True,
        drop_last=True,
        generator=torch.Generator().manual_seed(request["seed"]),
    )
    batches = ColourLoader(loader, request["seed"])
    fast = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
    limit = 60.0 * request["minutes"] or float("inf")
    started, done, progress, lowered = time.monotonic(), 0, 0.0, False
    while progress < 1.0:
        steps = min(STEPS_AN_EPOCH, recipe.steps - done)
        # no cache: it would keep the weights of the epoch's first step for all of them
        with torch.autocast("cpu", torch.bfloat16, enabled=fast, cache_enabled=False):
            epoch = done // STEPS_AN_EPOCH + 1
            log = train_utils.run_epoch(model, batches, epoch, num_steps=steps)
        model.on_epoch_end(epoch)
        done += steps
        spent = time.monotonic() - started
        progress = max(done / recipe.steps, spent / limit)
        if progress >= FINE_FROM and not lowered:
            _lower_rates(model)
            lowered = True
        yield done, spent, {k: v for k, v in log.items() if "loss" in k.lower()}


def _parts(model: Any) -> list[Any]:
    """The algorithms in a model: itself, or the planner and the actor of a hierarchy."""
    return [model.planner, model.actor] if hasattr(model, "planner") else [model]


def _lower_rates(model: Any) -> None:
    for part in _parts(model):
        for found in part.optimizers.values():
            for optimiser in found if isinstance(found, list) else [found]:
                for group in optimiser.param_groups:
                    group["lr"] *= 0.1


def main() -> None:
    """One request."""
    speak = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # robomimic prints
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    train(request, lambda epoch: print(json.dumps(epoch), file=speak, flush=True))


if __name__ == "__main__":
    main()
