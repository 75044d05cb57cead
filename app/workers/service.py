"""`takedown serve --workers N`: one supervisor, N processes that share the callers' port.

The supervisor does no takedowns and reads no Kafka. Each worker is a complete service in a process
of its own (see `service.py` and `app.workers.worker`); the workers share only the port.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from app.catalogue_folder import check_folder, folder_of
from app.kafka import connect, topics_used
from app.lifecycle import Failed, Lifecycle, cancel, fail
from app.open_files import admin_connections
from app.setting_table import PREFIX
from app.settings import as_environment
from app.workers.api import WorkersApi
from app.workers.client import Questions
from app.workers.process import WorkerProcess
from app.workers.reserved_port import ReservedPort
from app.workers.supervisor import Supervisor
from app.workers.worker import SHUTDOWN
from bus.kafka.topics import Topics
from domain.errors import KafkaUnavailable, SettingsError
from web.server import HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from app.settings import Settings
    from bus.kafka.connection import Connection

logger = logging.getLogger("takedown")

LOOPBACK = "127.0.0.1"
_READY_POLL = 0.05


def share(total: int, workers: int, number: int) -> int:
    """What one worker gets of something that is for all; the shares add up to the total."""
    return total // workers + (number < total % workers)


def settings_of(settings: Settings, number: int, connection: Connection, port: int) -> Settings:
    """The settings of one worker."""
    return replace(
        settings.with_servers(connection.bootstrap_servers, connection.fetch_max_wait),
        workers=1,
        http_port=port,
        http_max_connections=share(settings.http_max_connections, settings.workers, number),
        pool_max=share(settings.pool_max, settings.workers, number),
        # Each reads the topic for itself: see docs/decisions/0010.
        catalogue_folder=str(folder_of(settings) / f"worker-{number}"),
        # Its own admin API is for the supervisor, which passes on to it.
        admin_host=LOOPBACK,
        admin_port=0,
    )


async def supervise(
    settings: Settings, lifecycle: Lifecycle, failed: Failed, program: Path
) -> Callable[[], None]:
    """Start the workers and the admin API in front of them; returns what a second signal calls.

    Args:
        settings: of all workers together.
        lifecycle: where each part registers its stop.
        failed: set when the workers cannot go on.
        program: the file that a worker's process runs.

    Raises:
        BrokerStartError: the embedded broker does not start.
        SettingsError: a setting cannot be used, by us or by a worker.
    """
    if not settings.catalogue_url:
        check_folder(folder_of(settings))
    port = await ReservedPort.take(settings.http_host, settings.http_port)
    lifecycle.started("release the callers' port", port.close, within=1)
    connection = await connect(settings, lifecycle)
    if not settings.kafka_bootstrap_servers:
        # Of a broker that has just begun; with any other one the first worker does it.
        with contextlib.suppress(KafkaUnavailable):  # the workers try again, and say why
            await Topics(connection, topics_used(settings), create=settings.creates_topics).ensure()
    served = asyncio.Event()
    questions = Questions()
    lifecycle.started("hang up on the workers", questions.close, within=2)

    async def start(number: int, first: bool) -> WorkerProcess:
        own = settings_of(settings, number, connection, port.number)
        return await WorkerProcess.start(
            functools.partial(_command, program, number, first or not served.is_set()),
            _environment(own),
        )

    supervisor = Supervisor(settings.workers, start=start, answers=questions.alive)
    supervisor.failed.add_done_callback(lambda future: fail(failed, future.result()))
    workers_api = WorkersApi(supervisor, questions)
    admin = await _open_admin_api(settings, lifecycle, workers_api)
    bound = settings.shutdown_grace + settings.timeout + SHUTDOWN
    lifecycle.reloads("workers", supervisor.reload)
    lifecycle.started(
        "have the workers finish and end",
        functools.partial(supervisor.stop, bound),
        within=bound + 5,
    )
    if (misused := await supervisor.start()) is not None:
        raise SettingsError(misused)
    if supervisor.failed.done():  # which ends the program
        return supervisor.hurry
    host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    addresses = {"http": f"http://{host}:{port.number}", "admin": admin}
    logger.info("listening", extra={**addresses, "workers": settings.workers})
    announcing = asyncio.create_task(_announce(workers_api, addresses, served))
    announcing.add_done_callback(functools.partial(_on_announced, failed))
    lifecycle.started("stop announcing readiness", functools.partial(cancel, announcing), within=1)
    return supervisor.hurry


async def _open_admin_api(settings: Settings, lifecycle: Lifecycle, workers_api: WorkersApi) -> str:
    """Open the admin API of all workers; returns its address."""
    server = HttpServer(
        workers_api.application(),
        host=settings.admin_host,
        port=settings.admin_port,
        setting="TAKEDOWN_ADMIN_PORT",
        max_connections=admin_connections(0),
    )
    await server.open()
    lifecycle.started("close the admin API", server.close, within=5)
    return server.address


async def _announce(server: WorkersApi, addresses: dict[str, str], served: asyncio.Event) -> None:
    """Log once that the service is ready; each worker logs its own changes of readiness."""
    while not (await server.health()).ready:  # noqa: ASYNC110 - other processes
        await asyncio.sleep(_READY_POLL)
    served.set()
    logger.info("ready", extra=addresses)


def _on_announced(failed: Failed, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        fail(failed, f"readiness cannot be announced: {error!r}")


def _command(program: Path, number: int, first: bool, fileno: int) -> Sequence[str]:
    """The hidden command of a worker's process."""
    role = "first" if first else "replacement"
    return [sys.executable, str(program.resolve()), "worker", str(number), str(fileno), role]


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as variables: other users of the machine can read a process's arguments."""
    inherited = {key: text for key, text in os.environ.items() if not key.startswith(PREFIX)}
    return inherited | as_environment(settings)
