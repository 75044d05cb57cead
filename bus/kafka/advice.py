"""What went wrong with a server, in words: what was tried, what came back, and what to change.

What was seen comes first, and what probably causes it after that: these texts must never send
anyone in a wrong direction. They hold no secret, and nothing from outside that is not escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from bus.kafka.certificates import OTHER_NAME
from bus.kafka.handshake import Kind
from domain.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.kafka.handshake import Failure, Server
    from bus.kafka.security import Security

_SERVERS = "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS"
_PROTOCOL = "TAKEDOWN_KAFKA_SECURITY_PROTOCOL"
_MECHANISM = "TAKEDOWN_KAFKA_SASL_MECHANISM"
_CA = "TAKEDOWN_KAFKA_SSL_CA"
_CERTIFICATE = "TAKEDOWN_KAFKA_SSL_CERTIFICATE"

_OURS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER")
_NO_TIME = frozenset({9, 10})  # not valid yet, or not any more
_NOT_TRUSTED = frozenset({2, 18, 19, 20, 21})
_LONGEST = 1500


@dataclass(frozen=True, slots=True)
class Tried:
    """A server that was tried.

    Attributes:
        server: where it is.
        node: the broker's id, if the address is from the cluster's metadata; None: it is from the
            settings.
    """

    server: Server
    node: int | None = None


def advice(
    failed: Sequence[tuple[Tried, Failure]],
    security: Security,
    *,
    by: Server | None = None,
    now: datetime | None = None,
) -> str:
    """One line about servers that cannot be used, those with the same trouble together.

    Reads our certificates' files if they may be the cause.

    Args:
        failed: which, and how.
        security: what is shown to them and demanded of them.
        by: the server that gave the metadata, for brokers whose address is from there.
        now: the wall clock's time.
    """
    alike: dict[str, list[str]] = {}
    for tried, failure in failed:
        change = _change(tried, security, failure, now or datetime.now(UTC))
        subject = escaped(str(tried.server))
        if tried.node is not None:
            subject = f"broker {tried.node} at {subject}"
        alike.setdefault(f"{escaped(failure.seen).rstrip('.')}. {change}", []).append(subject)
    source = f"from {_SERVERS}"
    if by is not None:
        source = f"as advertised in the cluster's metadata, given by {escaped(str(by))}"
    return "; ".join(
        f"{', '.join(subjects)} ({source}; tried by {security.protocol}): {text}"
        for text, subjects in alike.items()
    )


def shortened(text: str) -> str:
    """A text of bounded length on one line."""
    text = escaped(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _change(tried: Tried, security: Security, failure: Failure, now: datetime) -> str:
    kind = failure.kind
    if kind in {Kind.NAME, Kind.NO_CONNECTION}:
        text = _unreachable(tried, failure)
    elif kind is Kind.CERTIFICATE:
        text = _invalid_certificate(tried.server, security, failure, now)
    elif kind is Kind.OURS:
        text = _our_certificate(security, now)
    elif kind in {Kind.TLS_NEEDED, Kind.NO_TLS}:
        text = _other_protocol(security, failure)
    elif kind in {Kind.NO_LOGIN, Kind.LOGIN_NEEDED, Kind.MECHANISM}:
        text = _other_login(security, failure)
    elif kind in {Kind.LOGIN, Kind.TOKEN}:
        text = _login(security, failure)
    else:
        text = _not_kafka(tried, failure)
        if security.tls is not None and kind in {Kind.CLOSED, Kind.TLS}:
            text = _perhaps_our_certificate(security, now, text)
    return text


def _unreachable(tried: Tried, failure: Failure) -> str:
    if tried.node is None:
        if failure.kind is Kind.NAME:
            return (
                f"Correct the name in {_SERVERS}, or make it known to this machine's resolver; "
                "names of a Docker network or a Kubernetes namespace are usually known inside of "
                "it only"
            )
        return (
            f"Check host and port in {_SERVERS}, that the broker runs and listens there, and that "
            "no firewall is in between"
        )
    loopback = ""
    if _is_loopback(tried.server.host):
        loopback = (
            f"{escaped(tried.server.host)} is the machine on which a client runs, so it is right "
            "only for clients on the broker's own machine. "
        )
    return (
        f"{loopback}Clients connect to each broker at the address that it advertises, whatever "
        f"{_SERVERS} says. If it is wrong, set the broker's advertised.listeners to an address "
        "that this machine can reach; if it is right, see that the broker runs and that no "
        "firewall is in between"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _invalid_certificate(
    server: Server, security: Security, failure: Failure, now: datetime
) -> str:
    code, certificate = failure.verify_code, failure.certificate
    prefix = "The broker's certificate is not trusted"
    if code in OTHER_NAME:
        names = ", ".join(escaped(name) for name in (certificate.names if certificate else ()))
        known = f" (it is for: {names})" if names else ""
        return (
            f"{prefix}: it is for another name{known}. Reach the broker by a name of its "
            f"certificate, in {_SERVERS} and in its advertised.listeners, or issue one for "
            f"{escaped(server.host)}"
        )
    if code in _NO_TIME:
        problem = None
        if certificate is not None and certificate.validity is not None:
            problem = certificate.validity.problem(now)
        if problem is not None:
            return f"{prefix}: it {problem}. Renew it, if the clocks here and there are right"
        mine = _files_problem(security, now, "ca")
        if mine is not None:
            return f"{prefix}: an authority in {_CA} {mine}. Renew that file"
        return (
            f"{prefix}: it is valid itself, so one that it was signed with has expired or is not "
            "valid yet. Renew the chain, if the clock here is right"
        )
    if code in _NOT_TRUSTED:
        source = "the authorities of this system"
        if security.files is not None and security.files.ca:
            source = escaped(security.files.ca)
        return (
            f"{prefix}: no trusted authority has signed it (trusted: {source}). Set {_CA} to a "
            "PEM file with the certificate of the authority that signed the broker's"
        )
    return f"{prefix}. Check the broker's certificate and {_CA}"


def _files_problem(security: Security, now: datetime, which: str) -> str | None:
    if security.files is None:
        return None
    return security.files.problem(which, now)


def _our_certificate(security: Security, now: datetime) -> str:
    if not security.shows_certificate:
        return (
            "The broker ends TLS, and we show no certificate: probably it demands one. Set "
            f"{_CERTIFICATE} and TAKEDOWN_KAFKA_SSL_KEY, or use a listener that demands none"
        )
    problem = _files_problem(security, now, "certificate")
    if problem is not None:
        return f"Our certificate ({_CERTIFICATE}) {problem}. Renew it; the new file is noticed"
    return (
        f"The broker ends TLS after it has seen our certificate ({_CERTIFICATE}), which is valid "
        "by its dates: probably the broker's truststore lacks the authority that signed it, or the "
        "broker's clock is wrong"
    )


def _perhaps_our_certificate(security: Security, now: datetime, text: str) -> str:
    """A server need not say why it ends TLS: some just close the connection."""
    if not security.shows_certificate:
        return f"{text}; or it demands a certificate of us ({_CERTIFICATE})"
    problem = _files_problem(security, now, "certificate")
    if problem is None:
        return f"{text}; or it does not trust our certificate ({_CERTIFICATE})"
    return f"Probably since our certificate ({_CERTIFICATE}) {problem}. Renew it. Otherwise: {text}"


def _other_protocol(security: Security, failure: Failure) -> str:
    needed = failure.kind is Kind.TLS_NEEDED
    name = "SSL" if needed else "PLAINTEXT"
    if failure.mechanisms is None:
        wanted = f"{name} (SASL_{name} if it wants a login)"
    else:
        wanted = f"SASL_{name}" if failure.mechanisms else name
    if needed:
        text = (
            f"The port uses TLS, and we do not. Set {_PROTOCOL} to {wanted}, or name the port of a "
            "listener without TLS"
        )
    else:
        text = (
            "The port does not use TLS, and we do. Name the port of a listener with TLS, or set "
            f"{_PROTOCOL} to {wanted}, which encrypts nothing"
        )
    if failure.mechanisms and security.mechanism not in failure.mechanisms:
        text += f"; it wants a login, so set {_MECHANISM} to {_choices(failure)}"
    return text


def _choices(failure: Failure) -> str:
    possible = [each for each in _OURS if each in (failure.mechanisms or ())]
    if possible:
        return " or ".join(possible)
    return f"one of {', '.join(_OURS)}, after the broker was set to offer it"


def _other_login(security: Security, failure: Failure) -> str:
    name = "SSL" if security.protocol.endswith("SSL") else "PLAINTEXT"
    if failure.kind is Kind.NO_LOGIN:
        return (
            f"The listener has no login (SASL), and we use one. Set {_PROTOCOL} to {name} and no "
            "TAKEDOWN_KAFKA_SASL_..., or name the port of a listener with a login"
        )
    if failure.kind is Kind.LOGIN_NEEDED:
        return (
            f"The listener wants a login (SASL), and we use none. Set {_PROTOCOL} to SASL_{name}, "
            f"{_MECHANISM} to {_choices(failure)}, and the user name and password (or token) that "
            "go with it"
        )
    return (
        f"It does not offer our SASL mechanism {security.mechanism}. Set {_MECHANISM} to "
        f"{_choices(failure)}"
    )


def _login(security: Security, failure: Failure) -> str:
    if failure.kind is Kind.TOKEN:
        return "Write the token into the file that TAKEDOWN_KAFKA_OAUTH_TOKEN_FILE names"
    if security.tokens is not None:
        return (
            f"{escaped(security.doubt)}: it may have expired, or be for another audience. Write a "
            "valid one into that file; it is read for each connection"
        )
    return (
        f"The login of {escaped(security.username)!r} by {security.mechanism} is refused. Check "
        "TAKEDOWN_KAFKA_SASL_USERNAME and TAKEDOWN_KAFKA_SASL_PASSWORD, and that the broker knows "
        f"this user for {security.mechanism}"
    )


def _not_kafka(tried: Tried, failure: Failure) -> str:
    where = _SERVERS if tried.node is None else "the broker's advertised.listeners"
    if failure.kind is Kind.HTTP:
        return f"That is an HTTP server and no Kafka broker. Correct host and port in {where}"
    if failure.kind is Kind.SILENT:
        return (
            f"Either this is no Kafka broker (then correct host and port in {where}), or it hangs, "
            "is overloaded, or is behind a proxy that does not reach it"
        )
    if failure.kind is Kind.CLOSED:
        return (
            f"Either this is no Kafka broker (then correct host and port in {where}), or it or a "
            "proxy in front of it refuses our connections (max.connections, a filter of addresses, "
            "a broker that is away)"
        )
    if failure.kind is Kind.TLS:
        return (
            f"Either this is no Kafka broker (then correct host and port in {where}), or it has no "
            "version or cipher of TLS in common with us (ssl.enabled.protocols), or it or a proxy "
            "in front of it refuses our connections"
        )
    return f"That is no Kafka broker. Correct host and port in {where}"
