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
        door_after: seconds after which the callers' port is opened at the latest, or None; until
            then it waits for readiness. A worker that replaces another one does not wait forever:
            when no worker is ready, callers get an answer that says so.
        on_open: called when the public API has been opened.
    """

    door_after: float | None
    on_open: Callable[[], None]
