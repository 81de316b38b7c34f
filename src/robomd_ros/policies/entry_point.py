"""A Python function that makes the policy under test."""

from __future__ import annotations

import importlib

from robomd_ros.core.errors import InvalidArgumentError, PolicyError, UnknownIdError
from robomd_ros.policies.base import Policy, PolicyInfo


def load_entry_point(spec: str) -> Policy:
    """Call "package.module:factory" without arguments and check that a policy came.

    Raises:
        InvalidArgumentError: the spec has another form.
        UnknownIdError: no such module or function.
        PolicyError: the factory failed, or what it made is not a policy.
    """
    module_name, colon, factory_name = spec.partition(":")
    if not colon or not module_name or not factory_name.isidentifier():
        raise InvalidArgumentError(f"entry point {spec[:80]!r}: want package.module:factory.")
    try:
        factory = getattr(importlib.import_module(module_name), factory_name)
    except ModuleNotFoundError as error:
        raise UnknownIdError(
            f"entry point {spec}: {error}; is its package installed in this environment?"
        ) from error
    except AttributeError:
        raise UnknownIdError(
            f"entry point {spec}: module {module_name} has no {factory_name}."
        ) from None
    try:
        policy: Policy = factory()
    except Exception as error:  # the user's code: whatever it raises is its failure
        raise PolicyError(f"entry point {spec} failed: {type(error).__name__}: {error}") from error
    missing = [
        name for name in ("reset", "act", "close") if not callable(getattr(policy, name, None))
    ]
    if missing or not isinstance(getattr(policy, "info", None), PolicyInfo):
        raise PolicyError(
            f"entry point {spec} made a {type(policy).__name__}; want an object with info (a PolicyInfo), "
            "reset(seed), act(observation) and close()."
        )
    return policy
