"""`robomd demo`: the whole loop, live, from the shipped study to the report."""

from __future__ import annotations

import json
import time
import webbrowser
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robomd_ros.cli.graph_process import GraphProcess
from robomd_ros.cli.live import console, refuse_second_graph, run_session, say, wait_for_nodes
from robomd_ros.core.errors import UnknownIdError

if TYPE_CHECKING:
    from robomd_ros.cli.wire import Wire
    from robomd_ros.core.study import Study

app = typer.Typer(add_completion=False)

EXAMPLES = (
    "cube_red",
    "cube_red+light_intensity=0.4",
    "a dim purple lamp hangs over the table",
)
_SESSION = 3600.0
"""Seconds a session may take beside its rollouts: training, nodes that come back."""
_ROLLOUT = 60.0
"""Seconds a rollout may take on average."""


@app.command()
def demo(
    rollouts: Annotated[int, typer.Option(min=1, help="Live rollouts on top of the study.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of the session.")] = 0,
    source: Annotated[
        str, typer.Option("--from", help="Study to start from: a shipped one, or a folder.")
    ] = "lift_panda",
    policy: Annotated[
        str, typer.Option(help="Policy under test; empty = the shipped one that the study is of.")
    ] = "",
    folder: Annotated[Path, typer.Option("--in", help="The study is made in here.")] = Path(
        "studies"
    ),
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Leave the nodes up at the end, until Ctrl-C.")
    ] = False,
    open_report: Annotated[
        bool, typer.Option("--open", help="Open the report in a browser.")
    ] = False,
) -> None:
    """Diagnose the shipped policy live in simulation: nodes, rollouts, training, ranking, questions, report."""
    from robomd_ros.cli.wire import Wire

    started = time.monotonic()
    _refuse_unknown(source)
    policy = policy or _policy_of(source)
    study = _copy(source, folder / datetime.now().strftime("demo-%Y%m%d-%H%M%S"))
    arguments = [
        "--study",
        str(study.folder),
        "--robot",
        study.meta.robot,
        "--task",
        study.meta.task,
        "--policy",
        policy,
    ]
    with Wire() as wire:
        refuse_second_graph(wire)
        with GraphProcess(arguments, study.folder / "nodes.log") as graph:
            say(f"nodes start in processes of their own, their output: {graph.log}")
            wait_for_nodes(wire, graph)
            _diagnose(wire, graph, rollouts, seed)
            _ask(study)
            report = _report(study)
            if open_report:
                webbrowser.open(report.resolve().as_uri())
            _farewell(study, report, time.monotonic() - started, keep_running)
            if keep_running:
                graph.wait()


def _refuse_unknown(source: str) -> None:
    from robomd_ros.core.study import shipped_studies

    if source not in shipped_studies() and not (Path(source) / "study.json").is_file():
        known = ", ".join(shipped_studies()) or "none"
        raise UnknownIdError(
            f"no study {source!r}: neither a folder with a study.json nor a shipped one ({known})."
        )


def _policy_of(source: str) -> str:
    """Name of the shipped policy whose rollouts the study holds."""
    from robomd_ros.core.study import Study, shipped_studies

    wanted = Study.open(shipped_studies().get(source, source)).meta.policy_id
    names = _shipped_policies()
    if wanted not in names:
        raise UnknownIdError(
            f"study {source} is of policy {wanted!r}, which does not ship ({', '.join(names)}): "
            "name it with --policy, as a folder, torchscript:PATH.pt, python:package.module:factory or tcp://HOST:PORT."
        )
    return names[wanted]


def _shipped_policies() -> dict[str, str]:
    """Name of each shipped policy by its id, without loading any."""
    from robomd_ros.policies.loader import CONFIG_NAME, list_policies, shipped_folder

    files = {name: shipped_folder() / name / CONFIG_NAME for name in list_policies()}
    return {json.loads(path.read_text("utf-8"))["info"]["id"]: n for n, path in files.items()}


def _copy(source: str, target: Path) -> Study:
    from robomd_ros.core.study import Study

    target.parent.mkdir(parents=True, exist_ok=True)
    study = Study.copy_from(source, target)
    with study.store(read_only=True) as store:
        counts = store.summary()
    say(
        f"study {study.folder}: {counts.total} rollouts of {study.meta.policy_id} ({counts.failures} failures) "
        f"on {study.meta.robot} come with it; nothing is trained yet"
    )
    return study


def _diagnose(wire: Wire, graph: GraphProcess, rollouts: int, seed: int) -> None:
    """Run the session with a live bar, then say what it found."""
    from robomd_msgs.action import Diagnose

    # One training at the start, one at the end: the session's own rhythm would train in the middle as well.
    goal = Diagnose.Goal(rollouts=rollouts, train_every=rollouts, seed=seed)
    trained: list[str] = []
    known: set[str] = set()

    def on_status(status: Any) -> None:
        if status.done == 1:  # the negative control: what is confirmed now, the study had before
            known.update(status.confirmed)
        said = status.message
        if said.startswith(("trained", "not trained")) and said not in trained:
            trained.append(said)

    status = run_session(wire, graph, goal, _SESSION + _ROLLOUT * rollouts, on_status)
    evidence = status.successes + status.failures
    controls = status.done - evidence - status.not_evidence
    say(
        f"{status.done} live rollouts: {status.failures} of {evidence} failed, "
        f"{controls} negative control, {status.not_evidence} discarded"
    )
    for what, found in (
        ("newly confirmed", [c for c in status.confirmed if c not in known]),
        ("confirmed before", [c for c in status.confirmed if c in known]),
    ):
        if found:
            say(f"{what} by repeats as failing: {', '.join(found)}")
    for line in trained[-1:]:
        say(line)


def _ask(study: Study) -> None:
    """The whole catalogue, then three examples, over /robomd/query_failure_likelihood."""
    from robomd_ros.cli.query import ask_nodes, show

    catalogue = study.catalogue()
    show(ask_nodes([], catalogue, timeout=60.0), title="Where the policy fails")
    title = "Three questions: one known, one composed of two, one in words that no rollout ever had"
    show(ask_nodes(list(EXAMPLES), catalogue, timeout=60.0), title=title)


def _report(study: Study) -> Path:
    from robomd_ros.report.build import build_report

    with console.status("report"):
        return build_report(study.folder)


def _farewell(study: Study, report: Path, seconds: float, keep_running: bool) -> None:
    say(f"report: {report}")
    say(f'ask on: robomd query --study {study.folder} cube_green "a shiny black table"')
    say(f"all of it: {study.folder}, {seconds / 60:.1f} minutes")
    if keep_running:
        say(
            "the nodes stay up until Ctrl-C: robomd query, robomd label, ros2 and RViz can talk to them"
        )
