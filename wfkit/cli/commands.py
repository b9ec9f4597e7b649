"""The tree of commands. Each is a module of its own, and is imported when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from wfkit.cli.failures import UsageError

_NEAR = 0.75
"""How near a word must come to a command's name to be taken for it, where it could be something else."""
HELP_COLUMNS = 80
"""Help is as wide as this everywhere, so that it can be written beforehand."""


def make_app(**options: Any) -> typer.Typer:
    """Return a Typer app as all of ours are: plain help, no completion of its own, errors told by `failures`."""
    context = {"help_option_names": ["--help", "-h"], "terminal_width": HELP_COLUMNS, "max_content_width": HELP_COLUMNS}
    return typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=context, **options)


class PlainCommand(TyperCommand):
    """A command whose help names its arguments as they are written."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [param for param in self.get_params(ctx) if param.param_type_name == "argument"]
        shown = [str(param.metavar) if param.required else f"[{param.metavar}]" for param in arguments]
        return [
            "[OPTIONS]",
            *(name + ("..." if param.nargs != 1 else "") for name, param in zip(shown, arguments, strict=True)),
        ]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        params = self.get_params(ctx)
        arguments = [
            (str(param.metavar), getattr(param, "help", "")) for param in params if param.param_type_name == "argument"
        ]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        options = [param.get_help_record(ctx) for param in params if param.param_type_name == "option"]
        with formatter.section("Options"):
            formatter.write_dl([record for record in options if record is not None])


class LazyGroup(TyperGroup):
    """A group whose commands are modules that hold an `app`."""

    modules: ClassVar[dict[str, tuple[str, str]]]
    """For each command its module, and what it does in a few words."""
    default: ClassVar[str | None] = None
    """The command that is meant where no command is named."""
    elsewhere: ClassVar[dict[str, str]] = {}
    """What other programs call these commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.modules:
            return None
        module, _ = self.modules[cmd_name]
        command = get_command(import_module(module).app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.modules.items()])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if self.default is not None and (not args or (args[0] not in self.modules and args[0] not in ctx.help_option_names)):
            self._refuse_typo(ctx, args)
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.modules:
            near = get_close_matches(args[0], self.modules, n=2)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
        return super().resolve_command(ctx, args)

    def _refuse_typo(self, ctx: Any, args: list[str]) -> None:
        """Refuse a word that is meant for another command than the default one, for which it would be an argument."""
        word = args[0] if args else ""
        near = [self.elsewhere[word]] if word in self.elsewhere else get_close_matches(word, self.modules, n=1, cutoff=_NEAR)
        # A word with other characters, alone, may be the id of a run; behind a command's name there is one.
        if near and (len(args) > 1 or word.isalpha()) and not word.startswith("-"):
            help = f"{ctx.command_path} --help; to search for the word: {ctx.command_path} text:{word}"
            raise UsageError(f"there is no command {word!r}; did you mean {near[0]}?", help)


class Commands(LazyGroup):
    modules: ClassVar[dict[str, tuple[str, str]]] = {
        "init": ("wfkit.cli.init", "Write a small app to begin with, and its test."),
        "dev": ("wfkit.cli.dev", "Run an app's workflows while you edit them."),
        "ui": ("wfkit.cli.ui", "Show what an engine does, on screens."),
        "serve": ("wfkit.cli.serve", "Run an app's workflows, and answer what follows."),
        "run": ("wfkit.cli.run", "Run one workflow and its children to their end."),
        "start": ("wfkit.cli.start", "Start a run on a running engine."),
        "send": ("wfkit.cli.send", "Send a signal to a run."),
        "publish": ("wfkit.cli.publish", "Publish a signal to whoever waits for it."),
        "chaos": ("wfkit.cli.chaos", "Inject a fault into an engine of wfkit dev."),
        "verify": ("wfkit.cli.verify", "Break a workflow on purpose; tell what fails."),
        "runs": ("wfkit.cli.runs", "See what ran: list runs, ask about one, stop some."),
        "signals": ("wfkit.cli.signals", "Show signals that came, and waits for some."),
        "timers": ("wfkit.cli.timers", "Show what is due, and when."),
        "code": ("wfkit.cli.code", "Show the code that runs, and runs by version."),
        "workflows": ("wfkit.cli.workflows", "List what may be started, with its parameters."),
        "sql": ("wfkit.cli.sql", "Query the journal with SQL."),
        "store": ("wfkit.cli.store", "Look after the journal file: info, backup, repair."),
        "explain": ("wfkit.cli.explain", "Say what an error means."),
        "completion": ("wfkit.cli.completion", "Print the completion script of a shell."),
        "version": ("wfkit.cli.version", "Print the versions of wfkit, Python and DuckDB."),
    }

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(_MEANT + "\n")
        super().format_help(ctx, formatter)


_MEANT = """\
Durable workflows on one machine and one file.

  begin with a small app and its test     wfkit init
  run a workflow once, to its end         wfkit run app.py:order '{"id": 7}'
  go on with a run that was interrupted   wfkit run app.py:order --id ID
  run an app while you edit it            wfkit dev app.py
  serve an app until it is stopped        wfkit serve app.py
  start a run on an engine that runs      wfkit start order '{"id": 7}'
  prove that a workflow survives          wfkit verify app.py:order '{"id": 7}'
  see what ran                            wfkit runs
  learn why a run does not go on          wfkit runs why ID
  see what may be started                 wfkit workflows
  learn what an error means               wfkit explain WF021
"""

app = make_app(
    cls=Commands,
    epilog="Exit status: 0 done, 1 the answer is no (a run failed, verify "
    "found a bug), 2 usage, 3 not found or ambiguous, 4 no engine "
    "answers, or the journal is in use, 5 history and code disagree, 6 it "
    "was not waited for longer, 70 a bug in wfkit, 130 interrupted.",
)


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", "-V", help="Print the version."),
    debug: bool = typer.Option(False, "--debug", help="Show wfkit's own traceback with an error."),  # noqa: ARG001 (main's)
) -> None:
    if version:
        from importlib.metadata import version as version_of

        print(f"wfkit {version_of('wfkit')}")
        raise typer.Exit


def call(arguments: Sequence[str]) -> int:
    """Run a command line, and return its exit status.

    Raises:
        Exception: whatever the command could not do; `failures.tell` knows what to make of it.
    """
    command = get_command(app)
    try:
        with command.make_context("wfkit", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    return 0
