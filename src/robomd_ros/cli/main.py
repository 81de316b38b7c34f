"""The `robomd` command: finds the group that was asked for, and turns errors into one sentence and an exit code."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from robomd_ros import __version__
from robomd_ros.core.errors import CancelledByUserError, RobomdError

COMMANDS = {
    "demo": "Diagnose the shipped policy live in simulation, then show the ranking and the report.",
    "rehearse": "A session on the stand-in UR5e cell with injected faults, watched on the wire.",
    "up": "Start the node graph and keep it up.",
    "hub": "Store and label the rollouts of several cells in one study.",
    "query": "Ask how likely the policy fails: known variations, composed ones, free text, an image.",
    "label": "Say how a rollout ended, or take the newest label back.",
    "study": "Make, fill, inspect and check studies.",
    "probe": "Ask the policy what it would do under variations: no rollout is spent.",
    "train": "Learn the embedding and the search policy of a study.",
    "report": "Write the HTML report of a study.",
    "plan-data": "Plan what demonstrations to collect, and say what to expect of them.",
    "finetune": "Carry such a plan out in simulation, and test everything again.",
    "evaluate": "Re-make the tables of docs/RESULTS.md, with the baselines beside them.",
    "compare": "Is policy B better or worse than A, under each condition and overall?",
    "minimize": "The smallest part of a failing combination that still makes the policy fail.",
    "policy": "List, check and serve policies under test.",
}
"""Each is a module of this package with a typer `app`, imported when it is called."""


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are called; the list above is enough for --help."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Replace the placeholder of the command that was asked for by the command itself."""
        if args and args[0] in COMMANDS:
            module = importlib.import_module(f"robomd_ros.cli.{args[0].replace('-', '_')}")
            command = typer.main.get_command(module.app)
            command.help = command.help or COMMANDS[args[0]]
            self.commands[args[0]] = command
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="robomd",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _placeholder() -> None:
    """Never runs: LazyGroup puts the command in its place."""


for _name, _help in COMMANDS.items():
    app.command(_name, help=_help)(_placeholder)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robomd {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Where does a manipulation policy fail, and how sure is that?"""


def run(arguments: list[str]) -> int:
    """Run one command line.

    Returns:
        0, 1 for an error (one sentence on stderr), 2 for wrong usage, 130 for Ctrl-C; for commands whose result is a verdict
        see `exit_codes`.
    """
    try:
        app(arguments, prog_name="robomd")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except (KeyboardInterrupt, CancelledByUserError):
        return 130
    except Exception as error:
        if "--debug" in arguments:
            raise
        typer.echo(f"robomd: {_sentence(error)}", err=True)
        return int(getattr(error, "exit_code", 1))
    return 0


def _sentence(error: Exception) -> str:
    if isinstance(error, RobomdError):
        return str(error)
    return f"{type(error).__name__}: {error}. This is a bug; `robomd --debug ...` shows where."


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
