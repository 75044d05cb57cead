"""What an actor, its reference and its mailbox share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pykka
from msgspec import Struct

if TYPE_CHECKING:
    import asyncio

    from actors.runtime.future import LoopFuture


@dataclass(frozen=True, slots=True)
class ActorStatistics:
    """What one actor has done so far.

    Attributes:
        urn: the actor's name, unique in the process.
        kind: its class.
        alive: False once it has stopped.
        mailbox_depth: messages that wait to be handled.
        handled: messages handled, failed ones included.
        restarts: how often it was restarted after a failure.
    """

    urn: str
    kind: str
    alive: bool
    mailbox_depth: int
    handled: int
    restarts: int


class StoppedFlag:
    """Whether an actor has stopped.

    Pykka has a `threading.Event` for this; no thread waits for it here, so that it can be small.
    """

    __slots__ = ("already",)

    def __init__(self) -> None:
        self.already = False

    def set(self) -> None:
        """The actor has stopped."""
        self.already = True

    def is_set(self) -> bool:
        """Whether it has."""
        return self.already


class Asked(Struct):
    """In a mailbox: a message whose sender waits for an answer. Others are there as they are."""

    message: Any
    reply_to: LoopFuture[Any]


class DrivenActor(pykka.Actor):
    """What a reference knows of its actor; `LoopActor` is the only kind.

    Attributes:
        loop: the event loop that it runs on.
        handled, restarts: see `ActorStatistics`.
    """

    loop: asyncio.AbstractEventLoop
    handled: int
    restarts: int
