"""What the ItemCensor's table must lead to in Active at the deadline, and what it ignores there."""

from __future__ import annotations

from msgspec.structs import replace

from actors.item_censor.states import (
    State,
)
from domain.messages import (
    CatalogueUnavailable,
    ContainersFound,
    DeadlinePassed,
    ItemUnknown,
    TimedOut,
    Unavailable,
)
from support.censor_cases import (
    ACTIVE,
    CONFIRMED,
    EARLIER,
    NOWHERE,
    ONLY_B_LEFT,
    TID,
    A,
    B,
    C,
    Cases,
    done,
    ignored,
)

ENDING: dict[tuple[State, type], Cases] = {
    (State.ACTIVE, DeadlinePassed): {
        "504 with nothing deleted": (
            ACTIVE,
            DeadlinePassed(TID),
            done(TimedOut((), (A, B, C))),
        ),
        "504 with what is deleted and what is not": (
            ONLY_B_LEFT,
            DeadlinePassed(TID),
            done(TimedOut((C, A), (B,))),
        ),
        "504 without evidence": (
            CONFIRMED,
            DeadlinePassed(TID),
            done(TimedOut((A, B), (), proven=False)),
        ),
        "504 in doubt": (
            replace(CONFIRMED, doubted=True, proven=True),
            DeadlinePassed(TID),
            done(TimedOut((A, B), (), doubted=True)),
        ),
        "503 without evidence for an item that may be nowhere: nothing was published": (
            NOWHERE,
            DeadlinePassed(TID),
            done(
                Unavailable(
                    "not-ready",
                    "It could not be shown in time that the list of the item's containers is the "
                    "newest",
                )
            ),
        ),
        "503 in doubt for an item that may be nowhere": (
            replace(NOWHERE, doubted=True),
            DeadlinePassed(TID),
            done(Unavailable("item-in-doubt", "The newest record of the item cannot be read")),
        ),
    },
    (State.ACTIVE, ContainersFound): ignored(
        State.ACTIVE, ACTIVE, ContainersFound(EARLIER, (A,)), ContainersFound(EARLIER, ())
    ),
    (State.ACTIVE, ItemUnknown): ignored(State.ACTIVE, ACTIVE, ItemUnknown(EARLIER)),
    (State.ACTIVE, CatalogueUnavailable): ignored(
        State.ACTIVE, ACTIVE, CatalogueUnavailable(EARLIER, "behind")
    ),
}
