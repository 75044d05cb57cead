"""What the ItemCensor's table must lead to in Active, for the results of a publication."""

from __future__ import annotations

from msgspec.structs import replace

from actors.fsm.machine import Step
from actors.item_censor.states import (
    PublishRequests,
    State,
)
from domain.messages import (
    PublishFailed,
    Refused,
    RequestsPublished,
    Unavailable,
)
from support.censor_cases import (
    A_GONE,
    ACTIVE,
    D_IS_DUE,
    EARLIER,
    FOLLOWED,
    IDS,
    MINE,
    ONLY_B_LEFT,
    TID,
    A,
    B,
    C,
    Cases,
    D,
    done,
    failed,
    ids,
    same,
)
from support.fakes import (
    gone,
)

PUBLISHING: dict[tuple[State, type], Cases] = {
    (State.ACTIVE, RequestsPublished): {
        "remembered": (
            A_GONE,
            RequestsPublished(TID),
            same(
                State.ACTIVE,
                replace(A_GONE, publishing=(), published=IDS, handed_over=True),
            ),
        ),
        "what is due is asked for now": (
            D_IS_DUE,
            RequestsPublished(TID),
            Step(
                State.ACTIVE,
                replace(
                    D_IS_DUE, publishing=(D,), due=frozenset(), published=IDS, handed_over=True
                ),
                (PublishRequests(MINE, (D,)),),
            ),
        ),
        "what was due and is deleted by now is not asked for": (
            replace(D_IS_DUE, outstanding=IDS, deleted=(gone("d"),)),
            RequestsPublished(TID),
            same(
                State.ACTIVE,
                replace(
                    D_IS_DUE,
                    outstanding=IDS,
                    deleted=(gone("d"),),
                    publishing=(),
                    due=frozenset(),
                    published=IDS,
                    handed_over=True,
                ),
            ),
        ),
        "what vanished and came back meanwhile is asked for once more": (
            replace(ACTIVE, due=ids("b")),
            RequestsPublished(TID),
            Step(
                State.ACTIVE,
                replace(ACTIVE, publishing=(B,), published=ids("ac"), handed_over=True),
                (PublishRequests(MINE, (B,)),),
            ),
        ),
        "of an earlier takedown": (
            A_GONE,
            RequestsPublished(EARLIER),
            same(State.ACTIVE, A_GONE),
        ),
    },
    (State.ACTIVE, PublishFailed): {
        "nothing handed over is a 503": (
            ACTIVE,
            failed(unpublished="abc", handed_over=False),
            done(Unavailable("kafka-unreachable", "broken")),
        ),
        "a 503 has what the caller is told": (
            ACTIVE,
            failed(unpublished="abc", handed_over=False, plain="away"),
            done(Unavailable("kafka-unreachable", "broken", plain="away")),
        ),
        "a 502 has what the caller is told": (
            ACTIVE,
            failed(unpublished="abc", plain="away"),
            done(Refused("broken", (), (A, B, C), (), (A, B, C), plain="away")),
        ),
        "handed over is a 502 with true lists": (
            A_GONE,
            failed(published="a", unpublished="bc"),
            done(Refused("broken", (A,), (B, C), (A,), (B, C))),
        ),
        "handed over and none acknowledged is a 502 too": (
            ACTIVE,
            failed(unpublished="abc"),
            done(Refused("broken", (), (A, B, C), (), (A, B, C))),
        ),
        "deleted and outstanding are those of this moment": (
            replace(ONLY_B_LEFT, publishing=(A, B, C), published=frozenset()),
            failed(published="c", unpublished="ab"),
            done(Refused("broken", (C,), (A, B), (C, A), (B,))),
        ),
        "what failed is deleted already": (
            replace(ONLY_B_LEFT, publishing=(A, B, C), published=frozenset()),
            failed(published="b", unpublished="ac"),
            same(State.ACTIVE, replace(ONLY_B_LEFT, published=ids("b"))),
        ),
        "what failed is deleted already, and what is due is asked for now": (
            replace(D_IS_DUE, outstanding=ids("bcd"), deleted=(gone("a"),)),
            failed(published="bc", unpublished="a"),
            Step(
                State.ACTIVE,
                replace(
                    D_IS_DUE,
                    outstanding=ids("bcd"),
                    deleted=(gone("a"),),
                    publishing=(D,),
                    due=frozenset(),
                    published=ids("bc"),
                    handed_over=True,
                ),
                (PublishRequests(MINE, (D,)),),
            ),
        ),
        "what failed has come back meanwhile and is asked for once more": (
            replace(ACTIVE, due=ids("b")),
            failed(published="ac", unpublished="b"),
            Step(
                State.ACTIVE,
                replace(ACTIVE, publishing=(B,), published=ids("ac"), handed_over=True),
                (PublishRequests(MINE, (B,)),),
            ),
        ),
        "nothing handed over is a 503, whatever is due": (
            D_IS_DUE,
            failed(unpublished="abc", handed_over=False),
            done(Unavailable("kafka-unreachable", "broken")),
        ),
        "what is due is among the unpublished": (
            D_IS_DUE,
            failed(published="ab", unpublished="c"),
            done(Refused("broken", (A, B), (C, D), (), (A, B, C, D))),
        ),
        "no 503 for what was added once something was handed over": (
            replace(FOLLOWED, containers=(A, B, C, D), outstanding=ids("cd"), publishing=(D,)),
            failed(unpublished="d", handed_over=False),
            done(Refused("broken", (A, B, C), (D,), (A, B), (C, D))),
        ),
        "a 502 at once, and what is not settled is named": (
            A_GONE,
            failed(published="a", unpublished="b", unacknowledged="c"),
            done(Refused("broken", (A,), (B,), (A,), (B, C), (C,))),
        ),
        "what is due is not sent, and what is not settled is not acknowledged": (
            D_IS_DUE,
            failed(unpublished="b", unacknowledged="ac"),
            done(Refused("broken", (), (B, D), (), (A, B, C, D), (A, C))),
        ),
        "what failed is deleted already, and the others are still on their way": (
            replace(A_GONE, due=ids("d"), outstanding=ids("bcd"), containers=(A, B, C, D)),
            failed(published="b", unpublished="a", unacknowledged="c"),
            same(
                State.ACTIVE,
                replace(
                    A_GONE,
                    due=ids("d"),
                    outstanding=ids("bcd"),
                    containers=(A, B, C, D),
                    published=ids("b"),
                    handed_over=True,
                ),
            ),
        ),
        "of an earlier takedown": (
            ACTIVE,
            failed(unpublished="abc", tid=EARLIER),
            same(State.ACTIVE, ACTIVE),
        ),
        "of an earlier takedown, nothing handed over": (
            ACTIVE,
            failed(unpublished="abc", handed_over=False, tid=EARLIER),
            same(State.ACTIVE, ACTIVE),
        ),
    },
}
