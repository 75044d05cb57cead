"""`takedown top`: what operators see, at a terminal.

Exit status: 0; 1 when there is nothing to be had from the admin API and only one picture
was asked for; 2 when it was called wrongly.
"""

from __future__ import annotations

import asyncio
import os
import sys

import click

from app.settings import load
from domain.errors import SettingsError

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - not to listen on
_FAILED = 1


@click.command("top")
@click.option(
    "--url",
    metavar="TEXT",
    help="Address of the admin API. [default: by TAKEDOWN_ADMIN_HOST and _PORT]",
)
@click.option(
    "--worker",
    type=click.IntRange(0, 9999),
    help="Which worker, of a service with several. [default: the first]",
)
@click.option(
    "--once",
    is_flag=True,
    help="Print one picture as plain text and end; the same when the output is no terminal.",
)
def top(url: str | None, worker: int | None, *, once: bool) -> None:
    """What every actor is doing, live, at a terminal."""
    url = url or default_url()
    # Textual draws on the standard error.
    if once or not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        _print_once(url, worker)
    else:
        asyncio.run(_live(url, worker))


def default_url() -> str:
    """The admin API, by the settings.

    Raises:
        SettingsError: they do not say where it is.
    """
    settings = load(os.environ, {})
    if settings.admin_port == 0:
        raise SettingsError("--url must be given: TAKEDOWN_ADMIN_PORT is 0, which is any free port")
    host = _EVERYWHERE.get(settings.admin_host, settings.admin_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.admin_port}"


def _print_once(url: str, worker: int | None) -> None:
    from operations.top.client import Unreachable  # noqa: PLC0415 - the service loads none of this
    from operations.top.snapshot import snapshot  # noqa: PLC0415 - the same
    from operations.top.words import shown  # noqa: PLC0415 - the same

    try:
        click.echo(asyncio.run(snapshot(url, worker)), nl=False)
    except Unreachable as error:
        click.echo(f"takedown: {shown(url)}: {shown(str(error))}", err=True)
        sys.exit(_FAILED)


async def _live(url: str, worker: int | None) -> None:
    from operations.top.app import Top  # noqa: PLC0415 - the same
    from operations.top.client import Client  # noqa: PLC0415 - the same

    async with Client(url, worker) as client:
        await Top(client).run_async()
