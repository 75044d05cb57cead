"""How a reader's session ends: its errors, and tasks that end together."""

from __future__ import annotations

import asyncio


class SessionFailed(Exception):
    """The session cannot go on."""


class FetcherStuck(SessionFailed):
    """The fetcher gets no answers although the broker answers other requests."""


async def until_one_fails(*tasks: asyncio.Task[None]) -> None:
    """Wait for tasks that do not end by themselves; end all of them and raise why one failed.

    A TaskGroup would do this. But before Python 3.13, a TaskGroup that is cancelled while it ends
    with an error drops one of the two, and the task that cancelled it would wait forever.

    Raises:
        Exception: what the first failed task has raised.
        SessionFailed: a task was cancelled from within.
    """
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    if errors:
        raise errors[0]
    raise SessionFailed("a part of the session was cancelled by itself")


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception in it that is not a group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
