"""The commands of `takedown`: what each starts, and how it ends.

Exit status: 0 when it was asked to stop, 1 when something failed, 2 when it was called wrongly.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeAlias

import click

from app.catalogue_folder import with_folder
from app.cli_catalogue import catalogue
from app.cli_top import top
from app.items_service import items_service
from app.kafka import connect
from app.lifecycle import Lifecycle, cancel
from app.logs import configure, echo, log_the_rest
from app.open_files import allow_many_files, within
from app.settings import SETTINGS, Setting, Settings, load
from app.signals import (
    block_signals,
    handle_signals,
    hold_signals,
    ignore_signals,
    open_standard_streams,
)
from app.workers.ipc import Link, Misused
from app.workers.service import supervise, work
from app.workers.stdout import share_output
from bus.kafka.embedded_broker import EmbeddedBroker
from demo.items_service.faults import Faults
from demo.items_service.sample import DEMO_DELETABLE, DEMO_FAULTS, DEMO_STUCK, DEMO_UNKNOWN
from demo.traffic import LOAD_FAULTS, Traffic
from domain.errors import BrokerStartError, SettingsError
from domain.printable import escaped
from operations.log_output.handler import handlers
from operations.log_output.writer import write_in_time
from service import Service

logger = logging.getLogger("takedown")

_FAILED = 1
_MISUSED = 2
_COLLECT_AFTER = 20_000
"""Objects that may have been made and not dropped again before the collector looks for cycles; a
takedown leaves none behind."""

_SAME_KEYSTROKE = 0.5
"""Seconds within which a second signal is the first one again: programs that start others pass a
Ctrl-C on which the terminal has given to all of them."""

_LOGS = ("log_format", "log_level")
_KAFKA = tuple(
    name
    for name in SETTINGS
    if name.startswith(("kafka_", "topic_", "topics_")) or name == "embedded_broker"
)
_SERVICE = ("http_host", "http_port", "http_max_connections", "http_keepalive", "admin_host",
            "admin_port", "timeout", "shutdown_grace", "pool_max", "clock_tolerance", "workers",
            "catalogue_folder", "catalogue_may_be_empty", "catalogue_may_expire",
            "catalogue_url", "catalogue_url_timeout", "traces")  # fmt: skip
_ITEMS = tuple(name for name in SETTINGS if name.startswith("items_"))
_DEMO = ("load",)
_DEMO_DEFAULTS = {"shutdown_grace": "0"}
"""No load balancer has to notice the end of a demo."""

Failed: TypeAlias = "asyncio.Future[str]"
Command = Callable[[Settings, Lifecycle, Failed], Awaitable[Callable[[], None]]]
"""Starts a command's parts. Returns what to do at a second signal."""


# ------------------------------------------------------------------------------ commands


async def serve(settings: Settings, lifecycle: Lifecycle, failed: Failed) -> Callable[[], None]:
    """The service alone, against the broker it is given."""
    settings.require_broker()
    settings = with_folder(settings, lifecycle)
    if settings.workers > 1:
        return await supervise(settings, lifecycle, functools.partial(_fail, failed))
    service = Service(settings, await connect(settings, lifecycle), lifecycle)
    await _start_service(service, failed)
    return service.hurry


async def worker(
    settings: Settings, lifecycle: Lifecycle, failed: Failed, *, link: Link, replaces: bool
) -> Callable[[], None]:
    """One of the processes that `serve` starts when it has workers."""
    fail = functools.partial(_fail, failed)
    return await work(settings, lifecycle, fail, link=link, replaces=replaces)


async def items(settings: Settings, lifecycle: Lifecycle, failed: Failed) -> Callable[[], None]:
    """The reference Items service alone."""
    settings.require_broker()
    address = await _start_items(settings, lifecycle, failed, _faults(settings))
    logger.info("ready", extra={"http": address})
    return _nothing


async def broker(settings: Settings, lifecycle: Lifecycle, failed: Failed) -> Callable[[], None]:
    """The embedded broker alone, in the foreground."""
    embedded = EmbeddedBroker(port=settings.broker_port)
    await embedded.start()
    lifecycle.started("stop the embedded broker", embedded.stop, within=8)
    watch = asyncio.create_task(embedded.wait())

    def on_end(task: asyncio.Task[int]) -> None:
        if not task.cancelled():
            _fail(failed, f"the embedded broker has ended with status {task.result()}")

    watch.add_done_callback(on_end)
    lifecycle.started("stop watching the broker", functools.partial(cancel, watch), within=1)
    logger.info("ready", extra={"kafka": embedded.address})
    return _nothing


async def demo(settings: Settings, lifecycle: Lifecycle, failed: Failed) -> Callable[[], None]:
    """Embedded broker, Items service with sample items, and the service, in one go."""
    connection = await connect(settings, lifecycle)
    settings = with_folder(settings, lifecycle).with_servers(
        connection.bootstrap_servers, connection.fetch_max_wait
    )
    settings = replace(settings, items_sample=True)
    faults = LOAD_FAULTS if settings.load else DEMO_FAULTS
    if settings.items_faults:
        faults = _faults(settings)
    items_address = await _start_items(settings, lifecycle, failed, faults)
    service = Service(settings, connection, lifecycle)
    await _start_service(service, failed)
    while not (service.callers_door.is_open or failed.done()):  # noqa: ASYNC110 - once
        await asyncio.sleep(0.02)
    _print_invitation(service, items_address)
    if settings.load and not failed.done():
        traffic = Traffic(
            door=service.callers_door.address, items=items_address, rate=settings.load
        )
        task = asyncio.create_task(_watched(traffic.run(), failed), name="traffic")
        lifecycle.started("stop the traffic", functools.partial(cancel, task), within=5)
    return service.hurry


async def _watched(work: Coroutine[Any, Any, None], failed: Failed) -> None:
    try:
        await work
    except Exception as error:
        logger.exception("Defect in the traffic")
        _fail(failed, f"the traffic ended: {error!r}")


async def _start_service(service: Service, failed: Failed) -> None:
    service.failed.add_done_callback(lambda future: _fail(failed, future.result()))
    await service.start()


async def _start_items(
    settings: Settings, lifecycle: Lifecycle, failed: Failed, faults: Faults
) -> str:
    connection = await connect(settings, lifecycle)
    program = items_service(settings, connection, faults)
    await program.start()
    lifecycle.started("stop the Items service", program.stop, within=15)
    watch = asyncio.create_task(program.wait_failed())

    def on_end(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            _fail(failed, f"the Items service failed: {task.exception()!r}")

    watch.add_done_callback(on_end)
    lifecycle.started("stop watching the Items service", functools.partial(cancel, watch), within=1)
    address: str = program.http_address
    return address


def _faults(settings: Settings) -> Faults:
    try:
        return Faults.parse(settings.items_faults)
    except ValueError as error:
        raise SettingsError(f"TAKEDOWN_ITEMS_FAULTS: {error}") from None


def _fail(failed: Failed, reason: str) -> None:
    if not failed.done():
        failed.set_result(reason)


def _nothing() -> None:
    """There is nothing to hurry."""


def _print_invitation(service: Service, items_address: str) -> None:
    door = service.callers_door.address
    echo(
        f"""
takedown is ready.

  public API       {door}
  admin API        {service.admin_door.address}   open it in a browser
  Items service    {items_address}   /items

Try it:

  200  an item in three containers, deleted from all of them:
       curl -i -X DELETE {door}/items/{DEMO_DELETABLE}

  404  no such item (the first one too, once it is deleted):
       curl -i -X DELETE {door}/items/{DEMO_UNKNOWN}

  504  one container never confirms; you are willing to wait for 3 seconds:
       curl -i -X DELETE -H 'Prefer: wait=3' {door}/items/{DEMO_STUCK}

More items: curl '{items_address}/items?limit=10'

Ctrl-C stops everything.
"""
    )


# ----------------------------------------------------------------------------- running


def _run(command: Command, settings: Settings, number: int | None = None) -> int:
    hold_signals()
    json = settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stdout.isatty()
    )
    configure(level=settings.log_level, json=json)
    if settings.workers > 1 or number is not None:
        share_output(number)
    log_the_rest()
    settings = within(settings, allow_many_files())
    _collect_less_often()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_until_stopped(command, settings))
    except (SettingsError, click.ClickException):
        raise
    except Exception:
        logger.critical("Stopped by a defect", exc_info=True)
        return _FAILED
    finally:
        ignore_signals()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not there on every platform
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _collect_less_often() -> None:
    """Spare the cyclic garbage collector what is imported, and every few requests' search."""
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


async def _until_stopped(command: Command, settings: Settings) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    failed: Failed = loop.create_future()
    hurry: list[Callable[[], None]] = []

    first_signal = loop.time()

    def on_signal(name: str) -> None:
        nonlocal first_signal
        if not stop.is_set():
            logger.info("Stopping on %s", name)
            first_signal = loop.time()
            stop.set()
        elif loop.time() - first_signal > _SAME_KEYSTROKE:
            logger.warning("Stopping at once on another %s", name)
            for callback in hurry:
                callback()

    def on_hangup() -> None:
        if not stop.is_set():
            on_signal("SIGHUP")

    lifecycle = Lifecycle()
    handle_signals(on_stop=on_signal, on_hangup=on_hangup, on_reload=lifecycle.reload)
    try:
        starting = asyncio.ensure_future(command(settings, lifecycle, failed))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            hurry.append(starting.result())
            endings: list[asyncio.Future[Any]] = [stopping, failed]
            await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
        else:
            starting.cancel()
            await asyncio.wait([starting])
        stopping.cancel()
    except BrokerStartError as error:
        logger.error("The embedded broker does not start: %s", error)
        return _FAILED
    finally:
        await lifecycle.stop()
        block_signals()
    if failed.done():
        logger.critical("Stopped: %s", failed.result())
        return _FAILED
    logger.info("Stopped")
    return 0


# ------------------------------------------------------------------------- command line


@click.group(help="One honest synchronous HTTP answer from an asynchronous Kafka platform.")
@click.version_option(package_name="takedown")
def _takedown() -> None:
    """Nothing by itself: the commands do it."""


def _command(
    name: str,
    command: Command,
    settings: tuple[str, ...],
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> None:
    def callback(**flags: str | None) -> None:
        sys.exit(_run(command, load(os.environ, flags, defaults)))

    chosen: list[Setting] = []
    for each in (SETTINGS[name] for name in (*settings, *_LOGS)):
        chosen += [each, each.in_file] if each.secret else [each]
    options: list[click.Parameter] = [
        click.Option(
            [each.flag, each.name],
            metavar="[true|false]" if each.switch else "TEXT",
            is_flag=False,
            flag_value="true" if each.switch else None,
            help=f"{each.help} [{each.variable}; "
            f"default: {defaults.get(each.name, each.default) or 'empty'}]",
        )
        for each in chosen
    ]
    _takedown.add_command(
        click.Command(name, callback=callback, params=options, help=command.__doc__)
    )


@_takedown.command("worker", hidden=True)
@click.argument("number", type=int)
@click.argument("fileno", type=int)
@click.argument("role", type=click.Choice(["first", "replacement"]))
def _worker(number: int, fileno: int, role: str) -> None:
    """For `serve` alone: it passes an open socket on."""
    link = Link(fileno)
    command = functools.partial(worker, link=link, replaces=role == "replacement")
    try:
        sys.exit(_run(command, load(os.environ, {}), number))
    except SettingsError as error:
        link.report(Misused(str(error)))  # it is said once, and not by each worker
        sys.exit(_MISUSED)


_command("serve", serve, (*_KAFKA, *_SERVICE))
_command("demo", demo, (*_KAFKA, *_SERVICE, *_ITEMS, *_DEMO), _DEMO_DEFAULTS)
_command("items-service", items, (*_KAFKA, *_ITEMS))
_command("broker", broker, ("broker_port",))
_takedown.add_command(catalogue)
_takedown.add_command(top)


def _complain(text: str) -> None:
    """Write to standard error; the process ends even if that is a pipe that is not read."""
    for handler in handlers():
        handler.flush()  # what was logged before comes first
    write_in_time(sys.stderr.fileno(), text + "\n")


def run(arguments: list[str] | None = None) -> None:
    """Run `takedown` with these arguments, or the process's own; always exits."""
    open_standard_streams()
    try:
        result: Any = _takedown.main(args=arguments, prog_name="takedown", standalone_mode=False)
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
        sys.exit(_FAILED)
    sys.exit(result if isinstance(result, int) else 0)
