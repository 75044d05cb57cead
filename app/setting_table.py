"""Every setting: its name, what it may be, its default, and one line of help.

This table is the only place where a setting is described: the environment variables, the flags of
the command line and the checks follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app import setting_parsers as parsers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "TAKEDOWN_"
"""What the name of each environment variable begins with."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: as the attribute of `Settings`; the variable and the flag follow from it.
        parse: from text to value; raises ValueError that completes "must be ...".
        default: as text.
        help: one line.
        secret: it is never shown, and its spaces are retained. It can be in a file instead, named
            by a variable and a flag of the same name with `_FILE` and `-file`.
    """

    name: str
    parse: Callable[[str], Any]
    default: str
    help: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """The command line's flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def in_file(self) -> Setting:
        """The setting that names a file with this one, which must be secret."""
        return Setting(
            f"{self.name}_file", parsers.text, "", f"file that holds {self.variable} instead"
        )

    @property
    def switch(self) -> bool:
        """Whether it is true or false: then the flag alone, without a value, means true."""
        return self.parse in {parsers.flag, parsers.flag_or_empty}


_PORT = parsers.integer(0, 65535)
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
OAUTH = "OAUTHBEARER"
"""The SASL mechanism that authenticates by token; the others do so by name and password."""
_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", OAUTH)

SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            "kafka_bootstrap_servers",
            parsers.servers,
            "",
            "comma-separated host:port list",
        ),
        Setting(
            "embedded_broker",
            parsers.flag,
            "false",
            "true or false: without servers, start the embedded broker; `demo` always does",
        ),
        Setting(
            "kafka_fetch_max_wait",
            parsers.seconds(0.001, 30),
            "0.5",
            "seconds a broker may hold a fetch back; the embedded broker needs 0.01",
        ),
        Setting(
            "kafka_request_timeout",
            parsers.seconds(0.5, 300),
            "10",
            "seconds until a request to a broker is given up",
        ),
        Setting(
            "kafka_security_protocol",
            parsers.choice(*_PROTOCOLS),
            "PLAINTEXT",
            ", ".join(_PROTOCOLS),
        ),
        Setting(
            "kafka_ssl_ca", parsers.text, "", "PEM file of who signs brokers; empty: the system's"
        ),
        Setting("kafka_ssl_certificate", parsers.text, "", "PEM file of our own certificate"),
        Setting(
            "kafka_ssl_key", parsers.text, "", "PEM file of its key; empty: in the certificate's"
        ),
        Setting("kafka_ssl_key_password", parsers.text, "", "password of that key", secret=True),
        Setting(
            "kafka_sasl_mechanism", parsers.choice("", *_MECHANISMS), "", ", ".join(_MECHANISMS)
        ),
        Setting("kafka_sasl_username", parsers.text, "", "for every mechanism but OAUTHBEARER"),
        Setting(
            "kafka_sasl_password",
            parsers.text,
            "",
            "the same; better in the environment than in a flag, which others can see",
            secret=True,
        ),
        Setting(
            "kafka_oauth_token_file",
            parsers.text,
            "",
            "for OAUTHBEARER: file with the token, read anew for each connection",
        ),
        Setting("http_host", parsers.required, "127.0.0.1", "address of the public API"),
        Setting("http_port", _PORT, "8080", "port of the public API; 0: a free one"),
        Setting(
            "http_max_connections",
            parsers.integer(1, 1_000_000),
            "12000",
            "connections at the public API; more are closed",
        ),
        Setting(
            "http_keepalive",
            parsers.seconds(1, 3600),
            "75",
            "seconds for which an idle connection stays open; use more than the proxy in front",
        ),
        Setting("admin_host", parsers.required, "127.0.0.1", "address of the admin API"),
        Setting("admin_port", _PORT, "8081", "port of the admin API; 0: a free one"),
        Setting(
            "timeout",
            parsers.seconds(0.1, 3600),
            "10",
            "seconds from accepting a request to its answer, at the latest",
        ),
        Setting(
            "shutdown_grace",
            parsers.seconds(0, 600),
            "5",
            "seconds after SIGTERM for which /readyz is 503 while requests are still served",
        ),
        Setting(
            "pool_max",
            parsers.integer(1, 10_000_000),
            "10000",
            "takedowns in flight; more get a 503",
        ),
        Setting(
            "containers_max",
            parsers.integer(1, 1_000_000),
            "10000",
            "containers of an item; one in more gets a 503, and nothing is published",
        ),
        Setting(
            "wait_for_kafka",
            parsers.seconds(0, 60),
            "2",
            "seconds for which a request waits, with nothing published, for a Kafka that is away",
        ),
        Setting(
            "workers",
            parsers.integer(1, 256),
            "1",
            "processes that share the callers' port, the pool and the connections",
        ),
        Setting(
            "follow_changes",
            parsers.flag,
            "true",
            "true or false: an item's newer list changes its takedown while it is in flight",
        ),
        Setting(
            "clock_tolerance",
            parsers.seconds(0, 3600),
            "1",
            "seconds by which a deletion may be dated before the list of its container and count",
        ),
        Setting(
            "topic_item_reported", parsers.topic, "item_reported", "topic of the delete requests"
        ),
        Setting("topic_item_deleted", parsers.topic, "item_deleted", "topic of the deletions"),
        Setting(
            "topic_item_published", parsers.topic, "item_published", "topic of the items' lists"
        ),
        Setting(
            "topics_create",
            parsers.flag_or_empty,
            "",
            "true or false: create missing topics; empty: only on the embedded broker",
        ),
        Setting(
            "catalogue_may_be_empty",
            parsers.flag_or_empty,
            "",
            "true or false: an item_published without a single readable list means that there are "
            "no items; false: not ready; empty: true only on the embedded broker",
        ),
        Setting(
            "catalogue_may_expire",
            parsers.flag,
            "false",
            "true or false: items older than the retention of item_published count as gone; "
            "false: not ready while it has a retention",
        ),
        Setting(
            "catalogue_folder",
            parsers.text,
            "",
            "folder of the stored catalogue; empty: in the user's data folder, and with "
            "the embedded broker a temporary one",
        ),
        Setting(
            "catalogue_url",
            parsers.url,
            "",
            "base URL of the Items service, asked instead of reading that topic; empty: the topic",
        ),
        Setting(
            "catalogue_url_timeout",
            parsers.seconds(0.05, 60),
            "2",
            "seconds until one request to it is given up, and perhaps tried again",
        ),
        Setting(
            "topic_partitions", parsers.integer(1, 100_000), "6", "of a topic that must be created"
        ),
        Setting(
            "topic_replication",
            parsers.replication,
            "",
            "of a topic that must be created; empty leaves it to the broker",
        ),
        Setting(
            "log_format",
            parsers.choice("auto", "console", "json"),
            "auto",
            "console, json, or auto: console on a terminal, otherwise json",
        ),
        Setting(
            "log_level",
            parsers.choice("debug", "info", "warning", "error"),
            "info",
            "least log level",
        ),
        Setting(
            "traces",
            parsers.choice("off", "otlp"),
            "off",
            "off, or otlp: spans, by OTEL_... variables; needs the extra tracing",
        ),
        Setting("broker_port", _PORT, "9092", "port of `takedown broker`; 0: a free one"),
        Setting("items_http_host", parsers.required, "127.0.0.1", "address of the Items service"),
        Setting("items_http_port", _PORT, "8082", "port of the Items service; 0: a free one"),
        Setting(
            "items_database", parsers.required, ":memory:", "file of the Items service's database"
        ),
        Setting("items_sample", parsers.flag, "false", "start the Items service with sample items"),
        Setting(
            "items_faults",
            parsers.text,
            "",
            "faults of the Items service, such as latency=0.2,drop=0.1",
        ),
        Setting(
            "load",
            parsers.number("a number for each second", 0, 200),
            "0",
            "takedowns for each second that the demo asks for itself; 0: none",
        ),
    )
}
