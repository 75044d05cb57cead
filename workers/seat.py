"""What makes a service one worker among several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A worker's place at the port that it shares.

    Attributes:
        door_after: seconds after which the callers' door is opened at the latest; until then it
            waits for readiness. 0 when nobody else is there who could take the callers. A worker
            that replaces another one takes no connection that it would have to refuse.
        on_open: called when the callers' door has been opened.
    """

    door_after: float
    on_open: Callable[[], None]
