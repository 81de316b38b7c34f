"""One frozen dataclass a node: its fields are the node's parameters, with description, range and unit.

    @dataclass(frozen=True)
    class CameraCaptureConfig:
        buffer: float = parameter(20.0, "frames are kept this long", low=1.0, high=600.0, unit="s")

    config = declare(node, CameraCaptureConfig)

Parameters are read-only while the node lives. A key that the dataclass does not have is an error: a typing error in a
YAML file must not run with the default unnoticed.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from robomd_ros.core.errors import InvalidArgumentError

Config = TypeVar("Config")

_RCL_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides")


def parameter(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    choices: Sequence[str] = (),
) -> Any:
    """A dataclass field that is a ROS parameter.

    Args:
        default: bool, int, float, str, or a tuple of str or float.
        description: one line, shown by `ros2 param describe`.
        low: smallest number allowed; None = open.
        high: largest number allowed; None = open.
        unit: of a number, "s", "m", ...
        choices: allowed values of a string.
    """
    text = f"{description} [{unit}]" if unit else description
    metadata = {"description": text, "low": low, "high": high, "choices": tuple(choices)}
    return field(default=default, metadata=metadata)


def declare(node: Node, config_type: type[Config]) -> Config:
    """Declare each field of `config_type` on the node and return the values given from outside.

    Raises:
        InvalidArgumentError: an unknown key, a wrong type, a value out of range.
    """
    given = {name: p.value for name, p in node._parameter_overrides.items()}
    specs = {f.name: f for f in fields(config_type)}  # type: ignore[arg-type]
    _refuse_unknown(node.get_name(), given, list(specs))
    types = typing.get_type_hints(config_type)
    values: dict[str, Any] = {}
    for name, spec in specs.items():
        default = spec.default if spec.default is not MISSING else None
        value = given.get(name, default)
        values[name] = check(name, value, types[name], spec)
        node.declare_parameter(
            name, _to_ros(values[name]), _descriptor(spec, types[name]), ignore_override=True
        )
    return config_type(**values)


def check(name: str, value: Any, wanted: Any, spec: Field) -> Any:
    """The value in the field's type and range, or InvalidArgumentError. An int is a fine float; nothing else converts."""
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if wanted is float and is_int:
        value = float(value)
    if typing.get_origin(wanted) is tuple:
        return _check_tuple(name, value, typing.get_args(wanted)[0])
    if not isinstance(value, wanted) or (wanted is int and not is_int):
        raise InvalidArgumentError(
            f"parameter {name}: want {wanted.__name__}, got {type(value).__name__} {value!r:.80}."
        )
    low, high = spec.metadata.get("low"), spec.metadata.get("high")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise InvalidArgumentError(f"parameter {name}: {value} is outside {low} .. {high}.")
    choices = spec.metadata.get("choices", ())
    if choices and value not in choices:
        raise InvalidArgumentError(f"parameter {name}: {value!r} is none of {', '.join(choices)}.")
    return value


def _check_tuple(name: str, value: Any, element: type) -> tuple:
    items = tuple(value) if isinstance(value, (list, tuple)) or hasattr(value, "tolist") else None
    if items is None or not all(isinstance(v, (element, int)) for v in items):
        raise InvalidArgumentError(
            f"parameter {name}: want a list of {element.__name__}, got {value!r:.80}."
        )
    return tuple(element(v) for v in items)


def _refuse_unknown(node_name: str, given: dict[str, Any], known: list[str]) -> None:
    for key in given:
        if key in known or key.split(".")[0] in _RCL_OWN:
            continue
        near = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}."
        raise InvalidArgumentError(f"node {node_name} has no parameter {key[:80]!r}; {hint}")


def _descriptor(spec: Field, wanted: Any) -> ParameterDescriptor:
    metadata = spec.metadata
    out = ParameterDescriptor(
        name=spec.name, description=metadata.get("description", ""), read_only=True
    )
    if metadata.get("choices"):
        out.additional_constraints = "one of " + ", ".join(metadata["choices"])
    low, high = metadata.get("low"), metadata.get("high")
    if low is not None and high is not None:
        if wanted is float:
            out.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))
            ]
        elif wanted is int:
            out.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return out


def _to_ros(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
