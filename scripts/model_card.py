"""The page that says what a shipped policy can and cannot do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robomd_ros.core.statistics import wilson
from robomd_ros.core.variations import NOMINAL
from robomd_ros.policies.bc import BcPolicy
from sim_bridge.tasks import get_task


@dataclass
class Tally:
    """Rollouts of one condition."""

    condition: str
    rollouts: int = 0
    successes: int = 0
    steps: list[int] = field(default_factory=list)

    def add(self, success: bool, steps: int) -> None:
        """Count one rollout."""
        self.rollouts += 1
        self.successes += success
        self.steps.append(steps)

    @property
    def failures(self) -> int:
        """Rollouts that did not succeed."""
        return self.rollouts - self.successes

    @property
    def sentence(self) -> str:
        """Successes of rollouts with the 95 % Wilson interval."""
        low, high = wilson(self.successes, self.rollouts)
        return f"{self.successes}/{self.rollouts} = {self.successes / self.rollouts:.2f} [{low:.2f}, {high:.2f}]"


_CARD = """# {title}

A small visuomotor policy for robosuite {environment} with {robot}, made to be diagnosed. It is an example, not a product.

| | |
| --- | --- |
| id | `{id}` |
| sees | RGB {height}x{width} of `agentview`, a {crop}x{crop} square cut out; {proprio} |
| gives | {action_dim} numbers, {action_space}, {rate:g} Hz, horizon {horizon} |
| network | four convolutions {channels} + BatchNorm, spatial softmax, MLP {hidden}x2; {parameters} parameters, {size:.0f} kB |
| trained on | {demos} demonstrations ({steps} steps) of the scripted expert, nominal scene only |
| made by | `python scripts/train_policy.py --task {task} --robot {robot} --out {title}`, training seed {seed}, revision {revision} |
| minutes | {minutes} |

Success, 95 % Wilson interval, scenes from seed 500000 on (no demonstration and no study uses them):

- **nominal {nominal}**, {mean_steps:.0f} steps on average where it succeeds
- blank (grey) image {blank}: it looks

## Failures under the variations of the catalogue

One variation at a time; scenes from the same seeds; {varied} rollouts each.

| variation | failures | rate | 95 % interval |
| --- | --- | --- | --- |
{rows}

Rates this small a sample gives are coarse: a study measures them.
"""


def write_card(
    path: Path,
    policy: BcPolicy,
    tallies: Sequence[Tally],
    blank: Tally,
    minutes: Mapping[str, float],
) -> None:
    """Write MODEL_CARD.md; `tallies` holds the nominal condition and the variations."""
    info, config, made = policy.info, policy.config, policy.made
    nominal = next(t for t in tallies if t.condition == NOMINAL)
    varied = [t for t in tallies if t is not nominal]
    parameters = sum(p.numel() for p in policy.network.parameters())
    good = [s for s in nominal.steps if s < info.horizon] or [info.horizon]
    path.write_text(
        _CARD.format(
            title=path.parent.name,
            task=info.task,
            environment=get_task(info.task).environment,
            robot=info.robot,
            id=info.id,
            height=info.image_height,
            width=info.image_width,
            crop=config.crop,
            proprio=", ".join(info.proprio),
            action_dim=info.action_dim,
            action_space=info.action_space,
            rate=info.rate,
            horizon=info.horizon,
            channels="/".join(map(str, config.channels)),
            hidden=config.hidden,
            parameters=parameters,
            size=parameters * 4 / 1000,
            demos=made["demos"]["demos"],
            steps=made["demos"]["steps"],
            seed=made["training"]["seed"],
            revision=made["revision"],
            minutes=", ".join(f"{stage} {m:g}" for stage, m in minutes.items()),
            nominal=nominal.sentence,
            mean_steps=sum(good) / len(good),
            blank=blank.sentence,
            varied=varied[0].rollouts,
            rows="\n".join(_row(t) for t in sorted(varied, key=lambda t: -t.failures)),
        ),
        encoding="utf-8",
    )


def _row(tally: Tally) -> str:
    low, high = wilson(tally.failures, tally.rollouts)
    rate = tally.failures / tally.rollouts
    return f"| {tally.condition} | {tally.failures}/{tally.rollouts} | {rate:.2f} | {low:.2f} .. {high:.2f} |"
