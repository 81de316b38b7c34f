"""The command line: help everywhere, one sentence and an exit code on errors, offline commands on a real study."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from robomd_ros.cli import demo
from robomd_ros.cli import main as cli
from robomd_ros.cli.query import parse, questions, read_image
from robomd_ros.cli.tables import (
    BAR_WIDTH,
    answer_json,
    answers_table,
    figures_table,
    interval_bar,
    what,
)
from robomd_ros.core.answers import Answer, Evidence, Question
from robomd_ros.core.errors import CancelledByUserError, RobomdError, StorageError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.learning.config import PROFILES, EmbeddingConfig
from robomd_ros.report.embedding_figures import figures

CATALOGUE = load_catalogue("lift")


def all_commands() -> list[list[str]]:
    """Each command and sub-command as the arguments that call it."""
    found: list[list[str]] = [[]]
    for name in cli.COMMANDS:
        module = __import__(f"robomd_ros.cli.{name.replace('-', '_')}", fromlist=["app"])
        command = typer.main.get_command(module.app)
        found += [[name], *([name, sub] for sub in getattr(command, "commands", {}))]
    return found


def answer(**changes: object) -> Answer:
    values: dict[str, object] = {
        "question": Question(CATALOGUE.perturbation("cube_red")), "index": 0, "rank": 1,
        "p_failure": 0.7, "p_low": 0.5, "p_high": 0.9, "log_density": -1.0, "density_ratio": 1.0,
        "log_density_untrained": -2.0, "distance": 0.1, "distance_limit": 0.5, "seen": True, "rollouts": 4,
        "failures": 3, "effective_rollouts": 5.0, "evidence": (Evidence("a", Outcome.FAILURE, 0.1),),
    }  # fmt: skip
    return Answer(**{**values, **changes})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study.create(tmp_path / "study", StudyMeta("lift", "Panda", "policy-1"))
    with made.store() as store:
        for name in ("one", "two"):
            store.add(RolloutRecord(name, Perturbation(), "lift", "Panda", "policy-1"))
    return made


@pytest.mark.parametrize("arguments", all_commands(), ids=" ".join)
def test_help_everywhere(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*arguments, "--help"]) == 0
    assert "Usage: robomd" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from robomd_ros.cli.main import run; run(['--help']); "
        "sys.exit(', '.join({'torch', 'rclpy', 'numpy', 'mujoco', 'scipy'} & set(sys.modules)) or None)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "cube_red", "--study", "nowhere"],
        ["query", "cube_mauve"],
        ["query", "light_intensity=1e9"],
        ["query", "--image", "nothing.png"],
        ["label", "one", "success", "--study", "nowhere"],
        ["report", "nowhere"],
        ["train", "all", "nowhere"],
        ["train", "embedding", "nowhere", "--profile", "tiny"],
        ["policy", "info", "nobody"],
        ["study", "show", "nowhere"],
        ["demo", "--from", "nothing"],
    ],
    ids=" ".join,
)
def test_an_error_is_one_sentence(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    assert cli.run(arguments) == 1

    said = capsys.readouterr().err
    assert said.startswith("robomd: ")
    assert said.count("\n") == 1
    assert "bug" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["label", "one"],
        ["label", "one", "maybe"],
        ["report"],
        ["query", "--live", "--study", "x"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    assert "Usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (KeyboardInterrupt(), 130),
        (CancelledByUserError("stop"), 130),
        (RobomdError("so"), 1),
        (OSError("x"), 1),
    ],
)
def test_exit_codes(raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("robomd_ros.report.build.build_report", fail)

    assert cli.run(["report", "somewhere"]) == code


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("command", ["embedding", "all"])
def test_training_takes_the_profiles_own_settings(
    command: str, profile: str, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[EmbeddingConfig] = []

    def fit(_: object, config: EmbeddingConfig, **__: object) -> None:
        taken.append(config)
        raise StorageError("enough seen")

    monkeypatch.setattr("robomd_ros.search.fit.fit_embedding", fit)
    call = ["train", command, str(study.folder), "--profile", profile]

    assert cli.run(call) == 1
    assert cli.run([*call, "--image-weights", "vit.pt", "--text-weights", "clip.pt"]) == 1
    assert taken == [
        EmbeddingConfig.of(profile),
        EmbeddingConfig.of(profile, image_weights="vit.pt", text_weights="clip.pt"),
    ]


@pytest.mark.parametrize("name", ["lift_panda_bc", "lift_ur5e_bc"])
def test_the_demo_runs_the_policy_that_the_study_is_of(name: str, tmp_path: Path) -> None:
    policy_id = {n: i for i, n in demo._shipped_policies().items()}[name]
    made = Study.create(tmp_path / "study", StudyMeta("lift", "Panda", policy_id))

    assert demo._policy_of(str(made.folder)) == name
    assert demo._policy_of("lift_panda") == "lift_panda_bc"


def test_the_demo_of_an_unknown_policy_wants_it_named(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["demo", "--from", str(study.folder)]) == 1
    said = capsys.readouterr().err
    assert "'policy-1'" in said
    assert "--policy" in said


def test_debug_shows_where_an_error_came_from() -> None:
    with pytest.raises(RobomdError):
        cli.run(["--debug", "report", "nowhere"])


def test_labels_of_a_study_on_disk(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(study.folder)

    assert (
        cli.run(
            [
                "label",
                "one",
                "failure",
                "--reason",
                "slipped",
                "--labeler",
                "ada",
                "--study",
                folder,
            ]
        )
        == 0
    )
    assert cli.run(["label", "last", "success", "--study", folder]) == 0
    assert "two (nominal): SUCCESS" in capsys.readouterr().out
    assert cli.run(["label", "last", "--undo", "--study", folder]) == 0

    with study.store(read_only=True) as store:
        first, second = store.get("one"), store.get("two")
    assert (first.labels[0].reason, first.labels[0].labeler) == ("slipped", "ada")
    assert first.outcome is Outcome.FAILURE
    assert second.outcome is Outcome.UNKNOWN


def test_label_of_an_unknown_rollout(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["label", "three", "success", "--study", str(study.folder)]) == 1
    assert "three" in capsys.readouterr().err


def test_words_are_text_and_ids_are_variations() -> None:
    assert parse("cube_red+light_intensity=0.4", CATALOGUE).perturbation is not None
    assert parse("nominal", CATALOGUE).perturbation == Perturbation()
    assert parse("a red cube", CATALOGUE) == Question(text="a red cube")


def test_nothing_asked_is_the_whole_catalogue() -> None:
    asked = questions([], CATALOGUE, None)

    assert [q.perturbation for q in asked] == [Perturbation(), *CATALOGUE.singles]


def test_a_picture_stands_alone_or_goes_with_each_question(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6, 4), 200, np.uint8), "RGBA").save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")

    assert image.shape == (4, 6, 3)
    assert questions([], CATALOGUE, image)[0].image is image
    assert all(q.image is image for q in questions(["cube_red", "two words"], CATALOGUE, image))


def test_a_file_that_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no")

    with pytest.raises(StorageError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted),
)
def test_the_bar_is_as_long_as_it_says_and_has_one_mark(interval: list[float]) -> None:
    low, p, high = interval

    bar = interval_bar(p, low, high).plain

    assert len(bar) == BAR_WIDTH
    assert bar.count("●") == 1
    assert bar.index("●") == min(int(p * BAR_WIDTH), BAR_WIDTH - 1)


def test_the_bar_of_nothing_known_is_empty() -> None:
    assert interval_bar(math.nan, math.nan, math.nan).plain == "·" * BAR_WIDTH


def test_json_is_json_and_unknown_is_null() -> None:
    out = json.loads(json.dumps(answer_json(answer(log_density=math.nan)), allow_nan=False))

    assert out["log_density"] is None
    assert out["perturbation_id"] == "cube_red"
    assert out["evidence"] == [{"rollout_id": "a", "outcome": "FAILURE", "distance": 0.1}]


def test_the_table_has_a_row_an_answer_and_says_what_was_asked() -> None:
    text = answer(
        question=Question(text="a dim lamp"), rank=2, distance=0.9, seen=False, rollouts=0
    )

    table = answers_table([answer(), text])

    assert table.row_count == 2
    assert what(text) == '"a dim lamp"'
    assert what(answer(question=Question(image=np.zeros((2, 2, 3), np.uint8)))) == "(image)"


def test_the_figures_of_a_training_are_told_in_words() -> None:
    measured = {
        "loss_train": 0.5,
        "silhouette": 0.25,
        "silhouette_heldout": 0.125,
        "auc_image_text": 0.75,
        "light_text_pearson": math.nan,
        "brand_new": 1.0,
    }
    console = Console(width=100, record=True, file=io.StringIO())

    console.print(figures_table(figures(measured, known=80, held_out=20)))

    lines = console.export_text().splitlines()
    row = {name: next(line for line in lines if name in line) for name in ("Silh", "AUC", "Light")}
    assert row["Silh"].split()[-3:] == ["higher", "0.250", "0.125"]
    assert row["AUC"].split()[-3:] == ["higher", "–", "0.750"]
    assert "picture and words" in row["AUC"]
    assert any("n = 80" in line and "n = 20" in line for line in lines)
    assert any("brand new" in line for line in lines)
