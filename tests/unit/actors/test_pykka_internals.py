"""What we rely on inside of pykka: an upgrade that changes one of these fails here first.

`actors/runtime/` replaces pykka's thread (`actor.py`), its inbox (`mailbox.py`), its reference
(`ref.py`) and its future (`future.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pykka
import pytest
from pykka import ActorRegistry
from pykka._future import _Unset
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from actors.runtime.actor import LoopActor
from actors.runtime.future import LoopFuture
from actors.runtime.mailbox import Mailbox
from actors.runtime.ref import LoopActorRef

LOOPS: list[pykka.Actor] = []


class Recording(pykka.Actor):
    """An actor that runs on nothing, and writes down what pykka calls."""

    calls: list[str]

    def __init__(self) -> None:
        self.calls = []
        super().__init__()

    @staticmethod
    def _create_actor_inbox() -> Any:
        return Mailbox()

    @staticmethod
    def _create_future() -> Any:
        return pykka.ThreadingFuture()

    def _start_actor_loop(self) -> None:
        self.calls.append("loop")
        LOOPS.append(self)  # a loop has its actor; the reference does not keep it

    def on_stop(self) -> None:
        self.calls.append("on_stop")

    def method(self) -> str:
        return "called"


@pytest.fixture
def actor() -> Iterator[Recording]:
    ref = Recording.start()
    actor = ref._actor_weakref()
    assert isinstance(actor, Recording)
    yield actor
    LOOPS.clear()
    ActorRegistry.unregister(ref)


def test_an_actor_is_made_registered_and_then_started(actor: Recording) -> None:
    assert actor.calls == ["loop"]
    assert isinstance(actor.actor_inbox, Mailbox)
    assert ActorRegistry.get_by_urn(actor.actor_urn) is actor.actor_ref
    assert actor.actor_ref is actor._actor_ref


def test_pykka_gives_an_actor_what_we_replace_and_nothing_more(actor: Recording) -> None:
    assert vars(actor).keys() - {"calls"} == {
        "actor_urn",
        "actor_inbox",
        "actor_stopped",
        "_actor_ref",
    }


def test_a_reference_takes_these_of_its_actor(actor: Recording) -> None:
    ref = actor.actor_ref
    assert vars(ref).keys() == {
        "_actor_weakref",
        "actor_class",
        "actor_urn",
        "actor_inbox",
        "actor_stopped",
    }
    assert ref.is_alive()
    actor.actor_stopped.set()
    assert not ref.is_alive()


def test_pykkas_own_messages_are_handled_by_it(actor: Recording) -> None:
    handle = actor._handle_receive
    assert handle(ProxyCall(attr_path=("method",), args=(), kwargs={})) == "called"
    assert handle(ProxyGetAttr(attr_path=("calls",))) is actor.calls
    handle(ProxySetAttr(attr_path=("other",), value=1))
    assert vars(actor)["other"] == 1
    handle(_ActorStop())
    assert actor.calls == ["loop", "on_stop"]
    assert actor.actor_stopped.is_set()
    assert ActorRegistry.get_by_urn(actor.actor_urn) is None


def test_there_are_no_other_messages_of_its_own() -> None:
    own = {
        name
        for name, each in vars(pykka.messages).items()
        if inspect.isclass(each) and each.__module__ == "pykka.messages"
    }
    assert own == {"_ActorStop", "ProxyCall", "ProxyGetAttr", "ProxySetAttr"}


def test_a_failure_takes_the_actor_out_of_the_registry_and_calls_no_hook(
    actor: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("no")
    actor._handle_failure(ValueError, error, None)
    assert actor.actor_stopped.is_set()
    assert ActorRegistry.get_by_urn(actor.actor_urn) is None
    assert actor.calls == ["loop"]
    assert [record.name for record in caplog.records] == ["pykka"]


def test_what_we_override_is_there() -> None:
    for ours, names in (
        (LoopActor, ("_create_actor_inbox", "_create_future", "_start_actor_loop", "start")),
        (LoopActorRef, ("tell", "ask", "stop")),
        (LoopFuture, ("get", "set", "set_exception", "__await__")),
    ):
        theirs = ours.__mro__[1]
        for name in names:
            assert getattr(ours, name) is not getattr(theirs, name)


def test_a_future_has_the_fields_that_ours_shares_among_all() -> None:
    future: pykka.Future[int] = pykka.ThreadingFuture()
    assert {"_get_hook", "_get_hook_result"} == set(inspect.get_annotations(pykka.Future))
    assert future._get_hook is None
    assert isinstance(future._get_hook_result, _Unset)
    plain: pykka.Future[int] = pykka.Future.__new__(pykka.ThreadingFuture)
    pykka.Future.__init__(plain)
    assert vars(plain).keys() == {"_get_hook", "_get_hook_result"}


async def test_a_derived_future_calls_get_of_the_one_it_is_derived_from() -> None:
    future: LoopFuture[int] = LoopFuture()
    future.set(20)
    derived = future.map(lambda value: value + 1)
    assert isinstance(derived, LoopFuture)
    assert derived._get_hook is not None
    assert derived.get() == 21
    other: LoopFuture[int] = LoopFuture()
    assert other._get_hook is None  # it belongs to the one, not to all
