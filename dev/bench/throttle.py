"""Bounds the CPU of processes by Linux control groups. Needs root."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dev.bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

PERIOD_US = 10_000
GROUPS = Path("/sys/fs/cgroup")


class Throttle:
    """Control groups that bound the CPU of processes, one for each.

    Args:
        share: of a core.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._first = (GROUPS / "cpu").is_dir()
        self._made: list[Path] = []

    def bound(self, pid: int) -> None:
        """Bound a process, with all its threads.

        Raises:
            BenchError: there are no control groups that we may change.
        """
        group = (GROUPS / "cpu" if self._first else GROUPS) / f"takedown-bench-{pid}"
        try:
            group.mkdir()
            self._made.append(group)
            self._write(group)
            (group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise BenchError(
                f"--throttle needs control groups that we may change: {error}"
            ) from error

    def change(self, share: float) -> None:
        """Give all of them another share of a core."""
        self.share = share
        for group in self._made:
            self._write(group)

    def _write(self, group: Path) -> None:
        quota = round(self.share * PERIOD_US)
        if self._first:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")

    def remove(self) -> None:
        """Remove the groups, whose processes must have ended."""
        while self._made:
            self._made.pop().rmdir()


@contextmanager
def throttled(share: float | None) -> Iterator[Throttle | None]:
    """Groups that are gone after the block."""
    if share is None:
        yield None
        return
    throttle = Throttle(share)
    try:
        yield throttle
    finally:
        throttle.remove()
