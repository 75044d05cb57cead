"""What is said about each trouble: what was seen, and what to change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bus.kafka.advice import Tried, advice, shortened
from bus.kafka.certificates import PeerCertificate, Validity
from bus.kafka.handshake import Failure, Kind, Server
from bus.kafka.security import Security, TokenFile

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
KAFKA = Server("kafka-1", 9092)
VALID = PeerCertificate(Validity(NOW - HOUR, NOW + HOUR), ())


class Files:
    """Certificates' files, with what is wrong with each."""

    def __init__(self, *, certificate: str = "", **problems: str) -> None:
        self.ca = "ca.pem"
        self.certificate = certificate
        self._problems = problems

    def problem(self, which: str, now: datetime) -> str | None:
        assert now == NOW
        return self._problems.get(which)


def security(protocol: str = "PLAINTEXT", mechanism: str = "", **more: Any) -> Security:
    tls: Any = object() if protocol.endswith("SSL") else None
    login = {"username": "alice", "password": "secret"} if mechanism else {}
    return Security(protocol=protocol, tls=tls, mechanism=mechanism, **{**login, **more})


def said(failure: Failure, own: Security | None = None, node: int | None = None) -> str:
    by = None if node is None else Server("bootstrap", 1)
    text = advice([(Tried(KAFKA, node), failure)], own or security(), by=by, now=NOW)
    assert failure.seen in text
    assert "secret" not in text
    assert text.isprintable()
    return text


@pytest.mark.parametrize(
    ("failure", "own", "words"),
    [
        (
            Failure(Kind.CERTIFICATE, "expired", verify_code=10, certificate=VALID),
            security("SSL", files=Files(ca="expired at noon")),
            "an authority in TAKEDOWN_KAFKA_SSL_CA expired at noon",
        ),
        (
            Failure(Kind.CERTIFICATE, "expired", verify_code=10, certificate=VALID),
            security("SSL", files=Files()),
            "it is valid itself, so one that it was signed with has expired",
        ),
        (
            Failure(
                Kind.CERTIFICATE,
                "not yet valid",
                verify_code=9,
                certificate=PeerCertificate(Validity(NOW + HOUR, NOW + 2 * HOUR), ()),
            ),
            security("SSL", files=Files()),
            "is not valid before 2026-11-26T13:00:00Z, and it is 2026-11-26T12:00:00Z here",
        ),
        (
            Failure(Kind.CERTIFICATE, "not for this purpose", verify_code=26),
            security("SSL", files=Files()),
            "Check the broker's certificate and TAKEDOWN_KAFKA_SSL_CA",
        ),
        (
            Failure(Kind.OURS, "unknown ca"),
            security("SSL", files=Files(certificate="client.pem")),
            "probably the broker's truststore lacks the authority that signed it",
        ),
        (
            Failure(Kind.CLOSED, "it closed"),
            security("SSL", files=Files(certificate="client.pem")),
            "or it does not trust our certificate",
        ),
        (
            Failure(Kind.TLS_NEEDED, "an alert", mechanisms=()),
            security(),
            "Set TAKEDOWN_KAFKA_SECURITY_PROTOCOL to SSL, or",
        ),
        (
            Failure(Kind.TLS_NEEDED, "an alert"),
            security(),
            "to SSL (SASL_SSL if it wants a login), or",
        ),
        (
            Failure(Kind.NO_TLS, "Kafka", mechanisms=("PLAIN",)),
            security("SASL_SSL", "PLAIN"),
            "to SASL_PLAINTEXT, which encrypts nothing",
        ),
        (
            Failure(Kind.NO_LOGIN, "ILLEGAL_SASL_STATE"),
            security("SASL_SSL", "PLAIN"),
            "Set TAKEDOWN_KAFKA_SECURITY_PROTOCOL to SSL and no TAKEDOWN_KAFKA_SASL_...",
        ),
        (
            Failure(Kind.MECHANISM, "it offers: GSSAPI", mechanisms=("GSSAPI",)),
            security("SASL_SSL", "PLAIN"),
            "after the broker was set to offer it",
        ),
        (
            Failure(Kind.LOGIN, "it closes"),
            security("SASL_SSL", "OAUTHBEARER", tokens=TokenFile(Path("token"))),
            "may hold a token that is refused: it may have expired",
        ),
        (
            Failure(Kind.TOKEN, "no such file"),
            security("SASL_SSL", "OAUTHBEARER", tokens=TokenFile(Path("token"))),
            "the file that TAKEDOWN_KAFKA_OAUTH_TOKEN_FILE names",
        ),
        (
            Failure(Kind.TLS, "the TLS handshake failed"),
            security("SSL", files=Files()),
            "no version or cipher of TLS in common with us",
        ),
    ],
)
def test_each_trouble_has_its_advice(failure: Failure, own: Security, words: str) -> None:
    assert words in said(failure, own)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_trouble_has_some_advice_wherever_the_address_is_from(kind: Kind) -> None:
    for own in (security(), security("SASL_SSL", "PLAIN", files=Files())):
        for node in (None, 7):
            text = said(Failure(kind, "this was seen"), own, node)
            _, _, change = text.partition("this was seen. ")
            assert len(change) > 20
            assert ("broker 7 at kafka-1:9092" in text) == (node is not None)


def test_only_an_advertised_address_is_blamed_on_advertised_listeners() -> None:
    failure = Failure(Kind.NO_CONNECTION, "refused")
    assert "advertised.listeners" not in said(failure)
    assert "set the broker's advertised.listeners" in said(failure, node=1)


def test_nothing_from_outside_has_control_characters_or_no_end() -> None:
    server = Server("kafka\x1b[2J", 1)
    failure = Failure(Kind.NAME, "a\r\nb\u202e")
    text = advice([(Tried(server, 1), failure)], security(), by=Server("\x07", 1), now=NOW)
    assert text.isprintable()
    assert len(shortened("x" * 100_000)) < 2000
