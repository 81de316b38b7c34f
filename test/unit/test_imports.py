"""The arrows of docs/architecture.md: who may import whom, and that the science runs where there is no ROS."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROS_PACKAGES = {
    "rclpy", "robomd_msgs", "std_msgs", "sensor_msgs", "geometry_msgs", "diagnostic_msgs", "visualization_msgs",
    "trajectory_msgs", "builtin_interfaces", "rosgraph_msgs", "lifecycle_msgs", "rcl_interfaces", "std_srvs",
}  # fmt: skip

MAY_IMPORT = {
    "core": set(),
    "recording": {"core"},
    "exchange": {"core", "recording"},
    "policies": {"core"},
    "arm": {"core", "policies"},
    "learning": {"core"},
    "search": {"core", "learning"},
    "report": {"core", "learning", "search"},
    "mending": {"core", "policies", "recording", "search"},
    "evaluation": {"core", "policies", "recording", "learning", "search", "mending"},
    "adapters": {"core", "learning", "search", "policies", "recording", "report", "arm"},
}
"""Parts of robomd_ros a part may import besides itself; nodes, cli and graph.py may import all."""

CORE_LIBRARIES = {"numpy", "robomd_ros"} | set(sys.stdlib_module_names)
CORE_EXCEPTIONS = {("statistics.py", "scipy", True), ("frame_codec.py", "cv2", False)}
"""(File, library, may be imported with the module?) The frames of the store are compressed by OpenCV, on the first one."""


def modules(root: Path) -> list[Path]:
    return sorted((root / "src/robomd_ros").rglob("*.py"))


def imports(path: Path, package: str) -> list[tuple[str, bool]]:
    """(Absolute module name, at import time?) of all imports; those only for type checkers are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(n)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for statement in block.body
        for n in ast.walk(statement)
    }
    top = {
        id(n)
        for s in tree.body
        if not isinstance(s, ast.FunctionDef | ast.ClassDef)
        for n in ast.walk(s)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            found.append((base, id(node) in top))
            if base == "robomd_ros":
                found += [(f"{base}.{alias.name}", id(node) in top) for alias in node.names]
    return found


def part_of(path: Path) -> str:
    inside = path.parts[path.parts.index("robomd_ros", path.parts.index("src")) + 1 :]
    return inside[0] if len(inside) > 1 else ""


def package_of(path: Path) -> str:
    return ".".join(path.parts[path.parts.index("robomd_ros", path.parts.index("src")) : -1])


def broken_rules(path: Path) -> list[str]:
    """Sentences about the forbidden imports of one module."""
    part = part_of(path)
    wrong = []
    for name, at_import in imports(path, package_of(path)):
        first, _, rest = name.partition(".")
        other = rest.split(".")[0]
        if part not in MAY_IMPORT:
            continue
        if first in ROS_PACKAGES and part != "adapters":
            wrong.append(f"{part}/{path.name} imports {name}: ROS is an edge")
        if first == "robomd_ros" and other and other != part and other not in MAY_IMPORT[part]:
            wrong.append(f"{part}/{path.name} imports {name}: not the way the arrows point")
        if first == "sim_bridge":
            wrong.append(f"{part}/{path.name} imports {name}: the simulator is outside")
        if part == "core" and first not in CORE_LIBRARIES and not _excepted(path, first, at_import):
            wrong.append(f"core/{path.name} imports {name}: numpy and the standard library only")
    return wrong


def _excepted(path: Path, library: str, at_import: bool) -> bool:
    """With the module is the wider permission: it covers the import inside a function."""
    return bool({(path.name, library, True), (path.name, library, at_import)} & CORE_EXCEPTIONS)


def test_modules_import_only_what_they_may(root: Path) -> None:
    wrong = [sentence for path in modules(root) for sentence in broken_rules(path)]

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("core", "import torch"),
        ("core", "from robomd_ros.learning import losses"),
        ("learning", "from ..search import fit"),
        ("search", "import rclpy"),
        ("report", "def f():\n    from robomd_msgs.msg import RiskMap"),
        ("policies", "from robomd_ros import search"),
        ("recording", "import sim_bridge.cell"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, part: str, line: str) -> None:
    path = tmp_path / "src/robomd_ros" / part / "module.py"
    path.parent.mkdir(parents=True)
    path.write_text(line)

    assert len(broken_rules(path)) == 1


def test_an_allowed_import_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "src/robomd_ros/search/module.py"
    path.parent.mkdir(parents=True)
    path.write_text("import torch\nfrom robomd_ros.learning import losses\nfrom . import known\n")

    assert broken_rules(path) == []


def test_everything_but_the_edge_imports_without_ros(root: Path) -> None:
    """A process in which no ROS package can be imported imports all modules of the inner parts."""
    inner = [p for p in modules(root) if part_of(p) in MAY_IMPORT.keys() - {"adapters"}]
    names = [".".join([package_of(p), p.stem]).removesuffix(".__init__") for p in inner]
    code = (
        "import importlib, sys\n"
        f"for name in {sorted(ROS_PACKAGES)!r}: sys.modules[name] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert len(names) > 30
    assert done.returncode == 0, done.stderr[-2000:]


def test_core_imports_no_heavy_library(root: Path) -> None:
    names = [f"robomd_ros.core.{p.stem}" for p in modules(root) if part_of(p) == "core"]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "heavy = {'torch', 'cv2', 'matplotlib', 'gymnasium', 'rosbags', 'mujoco'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or None)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-2000:]
