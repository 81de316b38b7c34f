"""The `ros2 …` lines of the README and of docs/ros2.md do what they show: names, types and fields exist, and real nodes answer them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import test_services_bad_input as services
import yaml
from rclpy.node import Node
from ros_graph import Graph, until

from robomd_msgs.msg import Question
from robomd_ros.adapters import names
from robomd_ros.core.errors import ErrorCode
from robomd_ros.graph import GraphOptions, node_table
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.fit import fit_study

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ROS2 = (ROOT / "docs" / "ros2.md").read_text()


def examples(*start: str, text: str = README) -> list[list[str]]:
    """Words of the text's command lines that start so."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found = [shlex.split(line) for line in lines if line.startswith(" ".join(start) + " ")]
    return [words[len(start) :] for words in found]


def interface(text: str) -> Any:
    """The class of "package/srv/Name"."""
    package, kind, name = text.split("/")
    return getattr(import_module(f"{package}.{kind}"), name)


def fill(message: Any, values: dict[str, Any]) -> Any:
    """Set fields as `ros2 service call` does; an unknown field is an error."""
    for name, value in values.items():
        current = getattr(message, name)
        if isinstance(value, dict):
            fill(current, value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            item = message.get_fields_and_field_types()[name].removeprefix("sequence<").rstrip(">")
            package, short = item.split("/")
            kind = interface(f"{package}/msg/{short}")
            setattr(message, name, [fill(kind(), v) for v in value])
        else:
            setattr(message, name, value)
    return message


ONE_DOMAIN = True
"""The nodes here are shared by all tests."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Graph, Node]]:
    """The answering nodes, trained, and with a camera frame for the questions about the live image."""
    study = services.small_study(tmp_path_factory.mktemp("readme") / "study")
    fit_study(study.folder, EmbeddingConfig(epochs=3), SearchConfig(steps=2048), seed=0)
    with contextmanager(services._graph)(study.folder) as (graph, cell):
        cell.image(cell.now)
        live = Question(use_live_image=True)
        until(lambda: services.query(graph, cell, live).error_code == ErrorCode.OK)
        yield graph, cell


@pytest.mark.parametrize("text", [README, ROS2], ids=["README", "ros2"])
def test_each_service_example_is_answered(nodes: tuple[Graph, Node], text: str) -> None:
    graph, node = nodes
    for name, kind, values in examples("ros2", "service", "call", text=text):
        service = interface(kind)
        request = fill(service.Request(), yaml.safe_load(values))

        response = graph.call(node, service, name, request)

        assert response.error_code == ErrorCode.OK, f"{name} {values}: {response.error_msg}"


def test_the_examples_cover_every_kind_of_call() -> None:
    def called(text: str) -> set[str]:
        lines = examples("ros2", "service", "call", text=text)
        return {words[0].removeprefix("/") for words in lines}

    everyday = {
        names.QUERY_FAILURE_LIKELIHOOD, names.APPLY_PERTURBATION, names.SUGGEST_NEXT, names.LABEL_OUTCOME,
    }  # fmt: skip
    assert called(README) == everyday
    assert called(ROS2) == everyday | {names.LIST_ROLLOUTS}


@pytest.mark.parametrize("text", [README, ROS2], ids=["README", "ros2"])
def test_the_action_example_is_a_goal(text: str) -> None:
    (words,) = examples("ros2", "action", "send_goal", text=text)
    name, kind, values = (word for word in words if word != "--feedback")

    goal = fill(interface(kind).Goal(), yaml.safe_load(values))

    assert name == f"/{names.DIAGNOSE}"
    assert goal.rollouts == 60


def test_the_topic_example_is_published() -> None:
    assert examples("ros2", "topic", "echo") == [[f"/{names.RISK_MAP}"]]


def test_the_launch_example_takes_its_arguments() -> None:
    ((package, file, *arguments),) = examples("ros2", "launch")
    launch_file = Path(__file__).parents[2] / "launch" / file

    assert package == "robomd_ros"
    for argument in arguments:
        assert f'"{argument.partition(":=")[0]}"' in launch_file.read_text(), argument


def test_the_table_of_nodes_is_the_graph() -> None:
    listed = re.findall(r"^\| (\w+) \| ", README, re.MULTILINE)[1:]

    graphs = (GraphOptions(), GraphOptions(mode="ur5e", hardware="standin", joy=True))
    names = {spec.name for options in graphs for spec in node_table(options)}
    assert sorted(listed) == sorted(names | {"study_hub"})  # which several graphs share
