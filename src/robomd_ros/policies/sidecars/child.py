"""The process that holds a policy in its own environment: `python child.py module:factory ARGUMENT`.

Run by path, because robomd_ros is not installed there; it needs numpy and what the policy needs. Says one line of JSON on standard
output, {"port": N} or {"error": sentence}, then serves the policy there until standard input ends, which it does
when whoever started it closes it or dies.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _adopt_package() -> None:
    """Make robomd_ros importable from where this file lies, and nothing else that lies beside it."""
    folder = Path(__file__).resolve().parents[2]
    sys.path[:] = [
        p for p in sys.path if Path(p or ".").resolve() != Path(__file__).parent.resolve()
    ]
    spec = importlib.util.spec_from_file_location(
        "robomd_ros", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["robomd_ros"] = module
    spec.loader.exec_module(module)


def _leave_with_parent() -> None:
    """End this process as soon as standard input ends, whatever the policy is doing."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _load(factory: str, argument: str) -> Any:
    module, _, function = factory.partition(":")
    make: Callable[[str], Any] = getattr(importlib.import_module(module), function)
    return make(argument)


def main(factory: str, argument: str) -> int:
    """Load, announce, serve."""
    speak = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print: only this module speaks on standard output
    _leave_with_parent()
    try:
        from robomd_ros.policies.serve import PolicyServer

        server = PolicyServer(_load(factory, argument), port=0)
    except (
        Exception
    ) as error:  # other people's code and files: whatever is raised, the parent is told
        from robomd_ros.core.errors import describe

        print(json.dumps({"error": describe(error)[1][:2000]}), file=speak, flush=True)
        return 1
    print(json.dumps({"port": server.address[1]}), file=speak, flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    _adopt_package()
    sys.exit(main(*sys.argv[1:]))
