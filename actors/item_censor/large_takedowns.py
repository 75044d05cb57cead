"""How many containers the large takedowns of one service may have in flight together.

A takedown of 10,000 containers needs more than 10 MB while its requests are under way, and about a
second of the processor. `TAKEDOWN_POOL_MAX` bounds takedowns, not that. So a large one begins only
if there is room for its containers; otherwise it is refused before anything is published, and by
the catalogue before the list is decoded. Small ones are never refused for it: whoever takes down
large items keeps nobody else out.
"""

from __future__ import annotations

LARGE = 100
"""Containers; a takedown of more is a large one."""

MOST = 50_000
"""Containers: about as many as are deleted within the usual deadline of 10 s."""


class LargeTakedowns:
    """Shared by the censors of a service. One that is alone always has room.

    Args:
        most: containers that they may have together.
    """

    __slots__ = ("_held", "most")

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._held = 0

    @property
    def containers(self) -> int:
        """Those of all that are in flight."""
        return self._held

    def why_no_room(self, containers: int) -> str | None:
        """Why no takedown of so many may begin now; None if one may."""
        if containers <= LARGE or not self._held or self._held + containers <= self.most:
            return None
        return (
            f"The item is in {containers} containers, and large takedowns of {self._held} are in"
            f" flight; the maximum of both is {self.most}"
        )

    def take(self, containers: int) -> int:
        """Begin a takedown of so many, for which there is room; returns what to give back."""
        taken = containers if containers > LARGE else 0
        self._held += taken
        return taken

    def give_back(self, containers: int) -> None:
        """A takedown that had room for so many is over."""
        self._held -= containers
