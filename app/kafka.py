"""Kafka by the settings: the topics, what the service does with them, and the connection."""

from __future__ import annotations

import asyncio
import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from app.lifecycle import cancel
from app.setting_table import SETTINGS
from bus.kafka.connection import Connection
from bus.kafka.credential_files import UnusableFile
from bus.kafka.embedded_broker import FETCH_MAX_WAIT, EmbeddedBroker
from bus.kafka.permissions import Need, Operation
from bus.kafka.security import Security, TokenFile
from bus.kafka.tls_files import TlsFiles
from bus.kafka.topics import Topic
from domain.errors import SettingsError

if TYPE_CHECKING:
    from app.lifecycle import Lifecycle
    from app.settings import Settings

logger = logging.getLogger("takedown")


def topics_of(settings: Settings) -> tuple[Topic, ...]:
    """The three topics, with what they are created with when they do not exist."""

    def make(which: str, **config: str) -> Topic:
        return Topic(
            getattr(settings, which),
            settings.topic_partitions,
            settings.topic_replication,
            config,
            SETTINGS[which].variable,
        )

    return (
        make("topic_item_reported"),
        make("topic_item_deleted"),
        make("topic_item_published", **{"cleanup.policy": "compact"}),
    )


def topics_used(settings: Settings) -> tuple[Topic, ...]:
    """The topics that the service itself needs: `item_published` only if the catalogue reads it."""
    topics = topics_of(settings)
    if settings.catalogue_url:
        return tuple(topic for topic in topics if topic.name != settings.topic_item_published)
    return topics


def needs_of(settings: Settings) -> tuple[Need, ...]:
    """The operations on its topics for which the service needs permissions."""
    operations = {topic.name: Operation.Read for topic in topics_used(settings)}
    operations[settings.topic_item_reported] = Operation.Write
    creates = settings.creates_topics
    return tuple(Need(topic, (one,), creates=creates) for topic, one in operations.items())


def security_of(settings: Settings) -> Security:
    """How connections to Kafka are protected and authenticated.

    Raises:
        SettingsError: a file that the settings name cannot be used.
    """
    protocol = settings.kafka_security_protocol
    try:
        files = None
        if protocol.endswith("SSL"):
            files = TlsFiles(
                ca=settings.kafka_ssl_ca,
                certificate=settings.kafka_ssl_certificate,
                key=settings.kafka_ssl_key,
                key_password=settings.kafka_ssl_key_password,
            )
        tokens = None
        if settings.kafka_oauth_token_file:
            tokens = TokenFile(Path(settings.kafka_oauth_token_file))
            tokens.check()
    except UnusableFile as error:
        prefix = "OAUTH" if error.which == "token_file" else "SSL"
        name = f"TAKEDOWN_KAFKA_{prefix}_{error.which.upper()}"
        raise SettingsError(f"{name} {error}") from None
    if protocol == "SASL_PLAINTEXT" and settings.kafka_sasl_mechanism in {"PLAIN", "OAUTHBEARER"}:
        logger.warning("Kafka gets our %s login in the clear", settings.kafka_sasl_mechanism)
    return Security(
        protocol=protocol,
        tls=None if files is None else files.context,
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_sasl_username,
        password=settings.kafka_sasl_password,
        tokens=tokens,
        files=files,
    )


async def connect(settings: Settings, lifecycle: Lifecycle) -> Connection:
    """A connection by the settings; starts the embedded broker if they name no server.

    Raises:
        BrokerStartError: the embedded broker does not start.
        SettingsError: Kafka cannot be reached as securely as the settings ask for.
    """
    if settings.kafka_bootstrap_servers:
        security = security_of(settings)
        if security.files is not None and security.files.named:
            lifecycle.reloads("TLS files", security.files.reload)
            watch = asyncio.create_task(security.files.run(), name="watch TLS files")
            stop = functools.partial(cancel, watch)
            lifecycle.started("stop watching the TLS files", stop, within=2)
        return Connection(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            request_timeout=settings.kafka_request_timeout,
            fetch_max_wait=settings.kafka_fetch_max_wait,
            security=security,
        )
    if settings.kafka_security_protocol != "PLAINTEXT":
        raise SettingsError(
            "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS must be set: the embedded broker does not speak "
            f"{settings.kafka_security_protocol}, which TAKEDOWN_KAFKA_SECURITY_PROTOCOL names"
        )
    logger.info("TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS is empty: starting the embedded broker")
    broker = EmbeddedBroker()
    await broker.start()
    lifecycle.started("stop the embedded broker", broker.stop, within=8)
    return Connection(
        bootstrap_servers=broker.address,
        request_timeout=settings.kafka_request_timeout,
        fetch_max_wait=FETCH_MAX_WAIT,
    )
