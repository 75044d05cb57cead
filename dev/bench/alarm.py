"""Waking up when it is time: the loops' own timers count in milliseconds, which is too coarse."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from typing import Self

_MONOTONIC = 1
_ABSOLUTE = 1
_NANO = 1_000_000_000


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Alarm:
    """Sleeps until moments of `time.perf_counter`; one sleeper at a time.

    On Linux with a timer of the kernel's (timerfd), which is late by about the 50 microseconds that
    the kernel allows itself; elsewhere by the loop's timer, which rounds to milliseconds.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        self._file = -1

    def __enter__(self) -> Self:
        if self._libc is not None:
            self._file = self._libc.timerfd_create(_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
            self._check(self._file)
            self._loop.add_reader(self._file, self._wake)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    async def until(self, moment: float) -> None:
        """Sleep until `time.perf_counter()` is at least `moment`."""
        if moment <= time.perf_counter():
            return
        if self._libc is None:
            await asyncio.sleep(moment - time.perf_counter())
            return
        seconds, nanoseconds = divmod(round(moment * _NANO), _NANO)
        spec = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(seconds, nanoseconds))
        self._waiting = self._loop.create_future()
        self._check(self._libc.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(spec), None))
        await self._waiting

    def _wake(self) -> None:
        os.read(self._file, 8)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    @staticmethod
    def _check(result: int) -> None:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
