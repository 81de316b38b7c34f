"""The package files agree with each other and with the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from importlib import metadata
from pathlib import Path

import pytest

import robomd_ros

PACKAGES = {"robomd_ros": ".", "robomd_msgs": "src/robomd_msgs", "sim_bridge": "sim_bridge"}
ROS_ONLY = {"launch", "launch_ros", "cv_bridge"}
"""Come with ROS 2 itself; a node does without them where they are not."""
MACHINE_PATH = re.compile(r"(?<![\w.])/(home|root|work|Users|mnt|opt/(?!ros\b))/?[A-Za-z0-9_.-]*")


def setup_arguments(path: Path) -> dict[str, ast.expr]:
    """Keyword arguments of the call of setup() in a setup.py, not executed."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup":
            return {k.arg: k.value for k in node.keywords if k.arg}
    raise AssertionError(f"no setup() in {path}")


def scripts(root: Path) -> dict[str, str]:
    """Console scripts of robomd_ros as installed or as setup.py writes them down: name to "module:function"."""
    source = (root / "setup.py").read_text()
    nodes = next(
        ast.literal_eval(n.value)
        for n in ast.parse(source).body
        if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "nodes"
    )
    return {"robomd": "robomd_ros.cli.main:main"} | {n: f"robomd_ros.nodes.{n}:main" for n in nodes}


def pins(root: Path) -> dict[str, str]:
    """Normalised name to version of constraints.txt."""
    lines = [
        line for line in (root / "constraints.txt").read_text().splitlines() if line[:1].isalnum()
    ]
    return {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for name, version in (line.split("==") for line in lines)
    }


def tracked(root: Path) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [root / name for name in listed.stdout.split("\0") if name and (root / name).is_file()]


@pytest.mark.parametrize("name", PACKAGES)
def test_package_xml_names_the_package_and_its_licence(root: Path, name: str) -> None:
    package = ET.parse(root / PACKAGES[name] / "package.xml").getroot()

    assert package.findtext("name") == name
    assert package.findtext("license") == "Apache-2.0"
    assert package.get("format") == "3"


def test_versions_agree(root: Path) -> None:
    versions = {
        f"{name}/package.xml": ET.parse(root / folder / "package.xml").getroot().findtext("version")
        for name, folder in PACKAGES.items()
    }
    for name in ("robomd_ros", "sim_bridge"):
        value = setup_arguments(root / PACKAGES[name] / "setup.py")["version"]
        versions[f"{name}/setup.py"] = ast.literal_eval(value)
    project = tomllib.loads((root / "src/robomd_msgs/pyproject.toml").read_text())["project"]
    versions["robomd_msgs/pyproject.toml"] = project["version"]

    assert set(versions.values()) == {robomd_ros.__version__}, versions


def test_console_scripts_point_to_functions(root: Path) -> None:
    for name, target in scripts(root).items():
        module, _, function = target.partition(":")
        path = root / "src" / Path(*module.split(".")).with_suffix(".py")
        names = [n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)]
        assert function in names, f"{name}: no {function} in {path}"


def test_each_node_has_a_console_script(root: Path) -> None:
    """Otherwise `ros2 run` and the launch file do not find it."""
    files = {
        p.stem for p in (root / "src/robomd_ros/nodes").glob("*.py") if "def main(" in p.read_text()
    }

    assert files == scripts(root).keys() - {"robomd"}


def test_constraints_pin_what_is_asked_for(root: Path) -> None:
    arguments = setup_arguments(root / "setup.py")
    extras = ast.literal_eval(arguments["extras_require"])
    wanted = ast.literal_eval(arguments["install_requires"]) + [
        r for e in extras.values() for r in e
    ]
    wanted += ast.literal_eval(setup_arguments(root / "sim_bridge/setup.py")["install_requires"])
    build = tomllib.loads((root / "src/robomd_msgs/pyproject.toml").read_text())
    wanted += build["build-system"]["requires"] + build["project"]["dependencies"]
    pinned = pins(root)
    names = {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", w, maxsplit=1)[0]).lower() for w in wanted}

    assert names - pinned.keys() - {"robomd-msgs"} == set()
    for requirement in wanted:
        name, exact, version = requirement.partition("==")
        if exact:
            key = re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()
            assert pinned[key] == version, requirement


def test_what_is_imported_is_asked_for(root: Path) -> None:
    """A library that only this machine's environment happens to have fails on the next one."""
    arguments = setup_arguments(root / "setup.py")
    extras = ast.literal_eval(arguments["extras_require"])
    wanted = ast.literal_eval(arguments["install_requires"]) + [
        r for e in extras.values() for r in e
    ]
    asked = {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", w, maxsplit=1)[0]).lower() for w in wanted}
    given = metadata.packages_distributions()
    ours = {*PACKAGES, *ROS_ONLY}
    sidecars = root / "src/robomd_ros/policies/sidecars"
    beside = {p.stem for p in sidecars.glob("*.txt") if f"\n{p.stem}==" in p.read_text()}
    missing = set()
    for path in [*(root / "src/robomd_ros").rglob("*.py"), *(root / "sim_bridge").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            if path.parent == sidecars:  # what runs there has an environment of its own
                names = [n for n in names if n.partition(".")[0] not in beside]
            for name in {n.partition(".")[0] for n in names} - ours - sys.stdlib_module_names:
                offered = {re.sub(r"[-_.]+", "-", d).lower() for d in given.get(name, [])}
                # A namespace that several fill (rosbags) wants all of them; the two OpenCVs are the same one.
                left = offered - asked - {"opencv-python-headless"}
                if (left or not offered) and not any(d.startswith("ros-") for d in offered):
                    missing.add(f"{name} ({path.name})")

    assert not missing


def test_torch_and_torchvision_are_a_pair(root: Path) -> None:
    """torchvision 0.N.P is built for torch 2.(N-15).P."""
    torch, vision = (pins(root)[n].split(".") for n in ("torch", "torchvision"))

    assert int(vision[1]) - int(torch[1]) == 15
    assert vision[2] == torch[2]


def test_one_opencv(root: Path) -> None:
    """opencv-python and opencv-python-headless put different files into the same folder."""
    assert {n for n in pins(root) if n.startswith("opencv")} == {"opencv-python"}


def test_no_path_of_a_machine_is_tracked(root: Path) -> None:
    found = []
    for path in tracked(root):
        data = path.read_bytes()
        if b"\0" in data[:4096]:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if MACHINE_PATH.search(line) and path.name != Path(__file__).name:
                found.append(f"{path.relative_to(root)}:{number}: {line.strip()[:100]}")

    assert not found, "\n".join(found)


def test_the_three_packages_are_where_colcon_looks(root: Path) -> None:
    text = (root / "colcon_defaults.yaml").read_text()

    assert re.findall(r'"([^"]+)"', text) == list(PACKAGES.values())


def test_readme_stays_short(root: Path) -> None:
    assert len((root / "README.md").read_text().splitlines()) < 200


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["help"], 0), ([], 2)], ids=["--help", "help", "none"]
)
def test_the_root_script_tells_what_it_can_without_setting_up(
    root: Path, tmp_path: Path, arguments: list[str], code: int
) -> None:
    """From any folder, through a link, and nothing is made."""
    (tmp_path / "repo").mkdir()
    script = tmp_path / "repo" / "robomd"
    script.write_bytes((root / "robomd").read_bytes())
    script.chmod(0o755)
    (tmp_path / "link").symlink_to(script)

    done = subprocess.run(
        [tmp_path / "link", *arguments], cwd="/", capture_output=True, text=True, check=False
    )

    assert done.returncode == code
    assert "./robomd COMMAND" in done.stdout + done.stderr
    assert [p.name for p in (tmp_path / "repo").iterdir()] == ["robomd"]


def test_the_demo_and_the_tests_are_the_two_commands_of_the_readme(root: Path) -> None:
    text = (root / "README.md").read_text()

    assert text.index("./robomd demo") < text.index("./robomd test") < text.index("colcon build")
