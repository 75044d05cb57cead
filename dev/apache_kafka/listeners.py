"""The listeners of a broker, and their settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from dev.apache_kafka.ports import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONTROLLER = "CONTROLLER"
_LOGIN_MODULES = "org.apache.kafka.common.security"
_SCRAM = f"{_LOGIN_MODULES}.scram.ScramLoginModule required;"


class Listener(StrEnum):
    """A listener's name, which is the same at every broker."""

    INTERNAL = "INTERNAL"
    """Between the brokers, and for our own requests: never affected by injected faults."""
    PLAINTEXT = "PLAINTEXT"
    """For clients."""
    PROXIED = "PROXIED"
    """For clients that come through a proxy: it is advertised at the proxy's address."""
    SSL = "SSL"
    """TLS, and the client shows a certificate."""
    SASL_SSL = "SASL_SSL"
    """TLS, and the client logs in by SCRAM-SHA-512 or OAUTHBEARER."""
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    """No TLS, and the client logs in by SCRAM-SHA-256 or SCRAM-SHA-512."""


_PROTOCOLS = {
    Listener.INTERNAL: "PLAINTEXT",
    Listener.PLAINTEXT: "PLAINTEXT",
    Listener.PROXIED: "PLAINTEXT",
    Listener.SSL: "SSL",
    Listener.SASL_SSL: "SASL_SSL",
    Listener.SASL_PLAINTEXT: "SASL_PLAINTEXT",
}


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM form.

    Attributes:
        key_and_certificate: a broker's private key (PKCS #8) followed by its certificate.
        authorities: the certificate authorities that are trusted to sign a client's certificate.
    """

    key_and_certificate: Path
    authorities: Path


@dataclass(slots=True)
class Listeners:
    """The ports of one broker, and the addresses that it advertises.

    Attributes:
        controller: port of the controller.
        ports: port of each listener.
        advertised: `host:port` that the broker names, where it is not that of `ports`.
    """

    controller: int
    ports: dict[Listener, int]
    advertised: dict[Listener, str] = field(default_factory=dict)

    def address(self, listener: Listener) -> str:
        """The address at which the broker listens."""
        return f"{HOST}:{self.ports[listener]}"

    def advertised_address(self, listener: Listener) -> str:
        """The address that the broker advertises."""
        return self.advertised.get(listener) or self.address(listener)

    def properties(self) -> dict[str, str]:
        """The broker's settings about its listeners."""
        protocols = {CONTROLLER: "PLAINTEXT"} | {name: _PROTOCOLS[name] for name in self.ports}
        controller = f"{CONTROLLER}://{HOST}:{self.controller}"
        own = [f"{name}://{self.address(name)}" for name in self.ports]
        advertised = [f"{name}://{self.advertised_address(name)}" for name in self.ports]
        return {
            "listeners": ",".join([controller, *own]),
            "advertised.listeners": ",".join(advertised),
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}" for name, protocol in protocols.items()
            ),
            "controller.listener.names": CONTROLLER,
            "inter.broker.listener.name": Listener.INTERNAL,
        }


def tls_properties(tls: Tls) -> dict[str, str]:
    """The broker's settings for the listeners with TLS."""
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(tls.key_and_certificate),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(tls.authorities),
        "listener.name.ssl.ssl.client.auth": "required",
        "listener.name.sasl_ssl.ssl.client.auth": "none",
        "listener.name.sasl_ssl.sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": _SCRAM,
        # Kafka's own stand-in for an identity provider: it trusts tokens without a signature.
        "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config": (
            f"{_LOGIN_MODULES}.oauthbearer.OAuthBearerLoginModule required"
            ' unsecuredLoginStringClaim_sub="broker";'
        ),
    }


def login_properties() -> dict[str, str]:
    """The broker's settings for the listener with a login and no TLS."""
    return {
        "listener.name.sasl_plaintext.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config": _SCRAM,
        "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config": _SCRAM,
    }


def authorizer_properties() -> dict[str, str]:
    """The broker's settings for access lists: all is allowed but what a list forbids.

    Who comes without a name, as the brokers do among themselves, may do everything.
    """
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
        "super.users": "User:ANONYMOUS",
    }


def lines(properties: Mapping[str, str]) -> str:
    """Settings in the form of a properties file."""
    return "".join(f"{key}={value}\n" for key, value in properties.items())


def free_listeners(*, tls: bool, login: bool, port: int) -> Listeners:
    """Listeners at free ports.

    Args:
        tls: with those of TLS.
        login: with the one that needs a login, without TLS.
        port: of `PLAINTEXT`; 0: a free one.
    """
    names = [Listener.INTERNAL, Listener.PLAINTEXT, Listener.PROXIED]
    if tls:
        names += [Listener.SSL, Listener.SASL_SSL]
    if login:
        names += [Listener.SASL_PLAINTEXT]
    controller, proxy, *ports = free_ports(2 + len(names))
    listeners = Listeners(controller=controller, ports=dict(zip(names, ports, strict=True)))
    listeners.advertised[Listener.PROXIED] = f"{HOST}:{proxy}"
    if port:
        listeners.ports[Listener.PLAINTEXT] = port
    return listeners
