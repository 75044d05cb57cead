"""The store of the service: LMDB in a folder of its own, written by a thread of its own.

The event loop never waits for a disk here but in `get`, which reads the memory map. One thread
does everything that blocks; LMDB lets the interpreter go on while it writes and flushes.

What is in the folder is checked as a whole once after each start, by another process (see
`check`). Nothing is written meanwhile. Whoever had the folder before may have

- given it back in order: what is there is used at once, with each entry's own checksum, and only
  what needs all of it, that an item is *not* there, waits for the check;
- died with it: nothing is used before the check has ended well. Its death may have been the
  damage's doing.

What is damaged is put aside and rebuilt from the topic.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from catalogue.store.check import Checked
from catalogue.store.data_folder import Folder, clear, data_of, sweep
from catalogue.store.lmdb_files import FIRST_MAP, LmdbFiles
from catalogue.store.store import StoreDamaged, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from catalogue.store.store import Batch, Kept, StoreStatistics

logger = logging.getLogger("takedown.catalogue")

T = TypeVar("T")

_ROOT = Path(__file__).resolve().parents[2]
"""Where the check's process finds our modules."""

_TOLD = 3
"""Problems that are told."""

_decode = msgspec.json.Decoder(Checked).decode


async def check_elsewhere(path: Path) -> Checked:
    """Check the store in this folder, in a process that may come to grief over it.

    Raises:
        StoreDamaged: the check did not come to an end.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *_check_of(path),
            cwd=_ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise StoreDamaged(f"{path} cannot be checked: {error}") from error
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    try:
        return _decode(output)
    except msgspec.DecodeError:
        raise StoreDamaged(f"the check of {path} ended with status {process.returncode}") from None


def _check_of(path: Path) -> tuple[str, ...]:
    # It runs in another directory than we do, so a relative path would be another folder.
    return sys.executable, "-m", "catalogue.store.check", str(path.absolute())


class LmdbStore:
    """A `Store` in a folder; `take` comes first.

    Args:
        path: the folder; it is made if it is missing.
        topic: the topic's name.
        first_map: bytes of the first map.
        checker: checks everything, and must outlive what that may do to a process.
    """

    def __init__(
        self,
        path: Path,
        topic: str,
        *,
        first_map: int = FIRST_MAP,
        checker: Callable[[Path], Awaitable[Checked]] = check_elsewhere,
    ) -> None:
        self._path = path
        self._topic = topic
        self._checker = checker
        self._folder: Folder | None = None
        self._files = LmdbFiles(path, first_map=first_map)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="catalogue")
        self._check: asyncio.Task[None] | None = None

    async def take(self) -> None:
        """Make the folder ours until `close`.

        Raises:
            FolderInUse: another process has it.
            UnsafeFolder: others can write to it.
            OSError: it cannot be made, or not be written to.
        """
        self._folder = await self._in_thread(partial(Folder.take, self._path))

    async def ready(self) -> None:
        """Open what is in the folder; what cannot be used is put aside."""
        assert self._folder is not None, "take() comes first"
        path = self._path
        await self._in_thread(self._folder.begin)
        await self._in_thread(partial(sweep, path))
        try:
            if await self._in_thread(data_of(path).exists):
                self._check = asyncio.create_task(self._prove())
                if not self._folder.ended_well:
                    logger.warning("%s was not closed in order: it is checked first", path)
                    await asyncio.shield(self._check)
                self._known(await self._in_thread(self._files.open))
                return
        except StoreDamaged as error:
            await self._put_aside(str(error))
        except StoreUnavailable as error:
            logger.error("The catalogue cannot be opened: %s", error)
            return
        with contextlib.suppress(StoreUnavailable):  # the first commit says so
            await self._in_thread(self._files.open)

    def _known(self, kept: Kept | None) -> None:
        if kept is not None and kept.topic != self._topic:
            raise StoreDamaged(f"it was made from topic {kept.topic}, and ours is {self._topic}")

    async def _put_aside(self, reason: str) -> None:
        logger.error("The catalogue is rebuilt from its topic: %s", reason)
        await self._end_check()
        await self._in_thread(self._files.close)
        await self._in_thread(partial(clear, self._path))
        await self._in_thread(partial(sweep, self._path))

    # ----------------------------------------------------------------------- the check

    async def _prove(self) -> None:
        """Have everything checked.

        Raises:
            StoreDamaged: it is damaged, or the check did not come to an end.
        """
        began = asyncio.get_running_loop().time()
        path = self._path
        checked = await self._checker(path)
        if checked.problems:
            raise StoreDamaged(f"{data_of(path)}: " + "; ".join(checked.problems[:_TOLD]))
        seconds = asyncio.get_running_loop().time() - began
        logger.info("Checked the catalogue: %d items are intact (%.1f s)", checked.items, seconds)

    async def proven(self) -> None:
        """Wait until all of it was checked once since the start.

        Raises:
            StoreDamaged: it is damaged.
            StoreUnavailable: the check was given up, since all is recreated or closed.
        """
        if (check := self._check) is not None:
            await asyncio.wait([check])
            if check.cancelled():
                raise StoreUnavailable(f"the check of {self._path} was given up")
            check.result()

    async def _end_check(self) -> None:
        check, self._check = self._check, None
        if check is not None:
            check.cancel()
            await asyncio.gather(check, return_exceptions=True)

    # ------------------------------------------------------------------------ the store

    def kept(self) -> Kept | None:
        """What the last transaction wrote."""
        return self._files.kept

    def get(self, key: bytes) -> bytes | None:
        """The value of a key. Raises `StoreDamaged` or `StoreUnavailable`."""
        return self._files.get(key)

    async def commit(self, batch: Batch) -> None:
        """Write it all, or nothing of it. Raises `StoreDamaged` or `StoreUnavailable`."""
        if batch.fresh:
            await self._end_check()
        else:
            await self.proven()
        await self._in_thread(partial(self._files.commit, batch, self._topic))

    async def tombstones(self) -> list[bytes]:
        """The keys of all tombstones that are kept. Raises `StoreDamaged`."""
        return await self._in_thread(self._files.tombstones)

    async def doubts(self) -> list[tuple[bytes, bytes]]:
        """Key and value of every doubt that is stored. Raises `StoreDamaged`."""
        return await self._in_thread(self._files.doubts)

    def statistics(self) -> StoreStatistics:
        """What it keeps."""
        return self._files.statistics()

    async def close(self) -> None:
        """Close the files and give the folder back."""
        well = True
        await self._end_check()
        try:
            await self._in_thread(self._files.close)
        except Exception as error:  # noqa: BLE001 - whatever it is, the folder is given back
            logger.error("The catalogue was not closed in order: %s", error)
            well = False
        if self._folder is not None:
            await self._in_thread(partial(self._folder.give_back, well=well))
        self._thread.shutdown(wait=False)  # nothing is left for it to do

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
