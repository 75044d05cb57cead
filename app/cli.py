"""The command line: its commands and flags, and what it prints when they are wrong.

Exit status: 0 when it was asked to stop, 1 when something failed, 2 when it was called wrongly.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

import click

from app.cli_catalogue import catalogue
from app.cli_top import top
from app.commands import STANDALONE
from app.process import FAILED, run
from app.setting_table import SETTINGS, Setting
from app.settings import load
from app.signals import open_standard_streams
from app.workers.ipc import Link, Misused
from domain.errors import SettingsError
from domain.printable import escaped
from operations.log_output.handler import handlers
from operations.log_output.writer import write_in_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from app.commands import Command
    from app.lifecycle import Failed, Lifecycle
    from app.settings import Settings

_MISUSED = 2
_LOGS = ("log_format", "log_level")


class StartWorker(Protocol):
    """Starts one of the processes of a service that has several."""

    def __call__(
        self,
        settings: Settings,
        lifecycle: Lifecycle,
        failed: Failed,
        *,
        link: Link,
        replaces: bool,
    ) -> Awaitable[Callable[[], None]]:
        """As `app.process.Start`; `replaces`: instead of a worker that has ended."""


def main(
    commands: Iterable[Command], worker: StartWorker, arguments: list[str] | None = None
) -> None:
    """Run `takedown` with these arguments, or the process's own; always exits.

    Args:
        commands: those that `app.commands` does not have.
        worker: the hidden command of a worker's process.
        arguments: without the program's name.
    """
    open_standard_streams()
    takedown = _group([*commands, *STANDALONE], worker)
    try:
        result: Any = takedown.main(args=arguments, prog_name="takedown", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        _complain(error.format_message())
        sys.exit(_MISUSED)
    except click.ClickException as error:
        _complain(f"takedown: {escaped(error.format_message())}")
        sys.exit(_MISUSED)
    except SettingsError as error:
        _complain(f"takedown: {escaped(str(error))}")
        sys.exit(_MISUSED)
    except click.Abort:
        sys.exit(FAILED)
    sys.exit(result if isinstance(result, int) else 0)


def _complain(text: str) -> None:
    """Write to standard error; the process ends even if that is a pipe that is not read."""
    for handler in handlers():
        handler.flush()  # what was logged before comes first
    write_in_time(sys.stderr.fileno(), text + "\n")


def _group(commands: Iterable[Command], worker: StartWorker) -> click.Group:
    group = click.Group(
        help="One honest synchronous HTTP answer from an asynchronous Kafka platform."
    )
    click.version_option(package_name="takedown")(group)
    for command in commands:
        group.add_command(_with_flags(command))
    group.add_command(_hidden(worker))
    group.add_command(catalogue)
    group.add_command(top)
    return group


def _with_flags(command: Command) -> click.Command:
    def callback(**flags: str | None) -> None:
        sys.exit(run(command.start, load(os.environ, flags, command.defaults)))

    chosen: list[Setting] = []
    for each in (SETTINGS[name] for name in (*command.settings, *_LOGS)):
        chosen += [each, each.in_file] if each.secret else [each]
    flags: list[click.Parameter] = [_flag(each, command.defaults) for each in chosen]
    return click.Command(command.name, callback=callback, params=flags, help=command.start.__doc__)


def _flag(setting: Setting, defaults: Mapping[str, str]) -> click.Option:
    return click.Option(
        [setting.flag, setting.name],
        metavar="[true|false]" if setting.switch else "TEXT",
        is_flag=False,
        flag_value="true" if setting.switch else None,
        help=f"{setting.help} [{setting.variable}; "
        f"default: {defaults.get(setting.name, setting.default) or 'empty'}]",
    )


def _hidden(worker: StartWorker) -> click.Command:
    """The command of a worker's process: `serve` alone runs it, with an open socket."""

    @click.command("worker", hidden=True)
    @click.argument("number", type=int)
    @click.argument("fileno", type=int)
    @click.argument("role", type=click.Choice(["first", "replacement"]))
    def command(number: int, fileno: int, role: str) -> None:
        link = Link(fileno)
        start = functools.partial(worker, link=link, replaces=role == "replacement")
        try:
            sys.exit(run(start, load(os.environ, {}), number))
        except SettingsError as error:
            link.report(Misused(str(error)))  # the supervisor prints it once for all workers
            sys.exit(_MISUSED)

    return command
