"""The interface files hold what Python believes: constants, comments, error fields."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from robomd_ros.core.errors import ErrorCode
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.records import PURPOSES

FOLDER = Path(__file__).resolve().parents[2] / "src" / "robomd_msgs"
FILES = (
    sorted(FOLDER.glob("msg/*.msg"))
    + sorted(FOLDER.glob("srv/*.srv"))
    + sorted(FOLDER.glob("action/*.action"))
)
CALLS = [f for f in FILES if f.suffix != ".msg"]
CONSTANT = re.compile(r"^\w+ ([A-Z_]+)\s*=\s*(\S+)")
FIELD = re.compile(r"^[\w/]+(\[\d*\])? +([a-z]\w*)\s*(#.*)?$")


def name(path: Path) -> str:
    return path.name


def parts(path: Path) -> list[list[str]]:
    return [part.splitlines() for part in path.read_text().split("\n---\n")]


def constants(lines: list[str]) -> dict[str, str]:
    return {m[1]: m[2] for line in lines if (m := CONSTANT.match(line))}


@pytest.mark.parametrize("path", CALLS, ids=name)
def test_error_codes_are_those_of_python(path: Path) -> None:
    result = constants(parts(path)[1])
    codes = {k: int(v) for k, v in result.items()}
    assert codes["OK"] == 0
    assert codes["INTERNAL"] == ErrorCode.INTERNAL
    for key, value in codes.items():
        assert ErrorCode[key] == value


@pytest.mark.parametrize("path", CALLS, ids=name)
def test_result_ends_with_the_error(path: Path) -> None:
    fields = [m[2] for line in parts(path)[1] if (m := FIELD.match(line))]
    assert fields[-2:] == ["error_code", "error_msg"]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_field_has_a_comment(path: Path) -> None:
    bare = [m[2] for part in parts(path) for line in part if (m := FIELD.match(line)) and not m[3]]
    assert not bare, f"{path.name}: {bare} want a comment with meaning, unit, range, unknown value"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_file_begins_with_what_it_is_and_is_built(path: Path) -> None:
    assert path.read_text().startswith(("# ", "string SEARCH")) or path.stem == "SuggestNext"
    module = importlib.import_module(f"robomd_msgs.{path.parent.name}")
    assert hasattr(module, path.stem)


def test_message_constants_are_the_enums() -> None:
    outcome = {k: int(v) for k, v in constants(parts(FOLDER / "msg/Outcome.msg")[0]).items()}
    assert outcome == {o.name: int(o) for o in Outcome}
    status = constants(parts(FOLDER / "msg/RolloutStatus.msg")[0])
    control = {
        k.removeprefix("CONTROL_"): int(v) for k, v in status.items() if k.startswith("CONTROL_")
    }
    assert control == {c.name: int(c) for c in Control}


def test_purposes_are_listed() -> None:
    line = next(
        x for x in (FOLDER / "msg/RolloutStatus.msg").read_text().splitlines() if "purpose" in x
    )
    assert tuple(re.findall(r'"(\w+)"', line)) == PURPOSES


def test_built_constants_are_those_of_the_files() -> None:
    for path in CALLS:
        module = importlib.import_module(f"robomd_msgs.{path.parent.name}")
        kind = getattr(module, path.stem)
        built = kind.Result if path.suffix == ".action" else kind.Response
        for key, value in constants(parts(path)[1]).items():
            assert getattr(built, key) == int(value), f"{path.name}: build robomd_msgs again"
