"""What aiokafka says in its log only reaches whoever made the client, and nobody else."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    SaslAuthenticationFailed,
    StaleMetadata,
    UnsupportedSaslMechanismError,
)

from bus.kafka.aiokafka_fixes import Cause, hearing

AIOKAFKA = logging.getLogger("aiokafka")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """As `logs.configure` leaves it: what is said is heard and not shown."""
    before = (AIOKAFKA.level, AIOKAFKA.propagate)
    AIOKAFKA.setLevel(logging.WARNING)
    AIOKAFKA.propagate = False
    yield
    AIOKAFKA.level, AIOKAFKA.propagate = before


def refused(error: BaseException, host: str = "kafka", port: int = 9092) -> None:
    """Complain as aiokafka does while it bootstraps."""
    AIOKAFKA.error('Unable connect to "%s:%s": %s', host, port, error)


def test_nothing_is_known_before_something_is_said() -> None:
    with hearing() as cause:
        assert cause.text == ""
    assert cause.instead_of("Unable to bootstrap") == "Unable to bootstrap"
    assert cause.instead_of(KafkaConnectionError()) == "KafkaConnectionError"


def test_the_last_complaint_of_a_connection_is_the_cause() -> None:
    with hearing() as cause:
        refused(OSError("first"))
        refused(SaslAuthenticationFailed("invalid credentials"), "other")
    assert cause.text.startswith("other:9092 cannot be used: ")
    assert "invalid credentials" in cause.text
    assert cause.instead_of("Unable to bootstrap") == cause.text


def test_a_broker_that_is_known_by_its_number_is_called_so() -> None:
    with hearing() as cause:
        AIOKAFKA.error("Unable connect to node with id %s: %s", 3, OSError("refused"))
    assert cause.text == "broker 3 cannot be used: refused"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "no answer in time"),
        (ConnectionResetError(), "ConnectionResetError"),
        (UnsupportedSaslMechanismError(object()), "it does not offer our SASL mechanism"),
    ],
)
def test_an_error_without_words_of_its_own_is_put_into_words(
    error: BaseException, words: str
) -> None:
    with hearing() as cause:
        refused(error)
    assert cause.text == f"kafka:9092 cannot be used: {words}"


def test_a_certificate_that_is_not_trusted_is_called_so() -> None:
    error = ssl.SSLCertVerificationError("[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1006)")
    error.verify_message = "self-signed certificate"
    with hearing() as cause:
        refused(error)
    assert cause.text.endswith("its certificate is not trusted: self-signed certificate")


def test_what_only_follows_from_a_failure_does_not_hide_it() -> None:
    with hearing() as cause:
        refused(OSError("refused"))
        AIOKAFKA.error("Unable connect to node with id %s: %s", None, StaleMetadata("no broker"))
        AIOKAFKA.error("Unable to update metadata from %s", [1])
        AIOKAFKA.error("Topic %s not found in cluster metadata", "topic")
        AIOKAFKA.warning("No broker metadata found in MetadataResponse -- ignoring.")
    assert cause.text == "kafka:9092 cannot be used: refused"


def test_after_the_block_nothing_is_heard() -> None:
    with hearing() as cause:
        pass
    refused(OSError("later"))
    assert cause.text == ""


async def test_each_hears_its_own_clients_and_their_tasks_for_as_long_as_they_live() -> None:
    causes: list[Cause] = []
    go = asyncio.Event()

    async def client(name: str) -> None:
        await go.wait()
        refused(OSError(name), host=name)

    tasks = []
    for name in ("one", "other"):
        with hearing() as cause:
            causes.append(cause)
            tasks.append(asyncio.create_task(client(name)))
    go.set()
    await asyncio.gather(*tasks)
    assert [cause.text.split(":")[0] for cause in causes] == ["one", "other"]


def test_it_is_heard_once_however_often_somebody_listens() -> None:
    for _ in range(3):
        with hearing():
            pass
    names = [type(handler).__name__ for handler in AIOKAFKA.handlers]
    assert names.count("_Listener") == 1
