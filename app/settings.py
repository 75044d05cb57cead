"""The settings: read once, checked at the start, frozen.

Each is an environment variable `TAKEDOWN_...`, and a flag of the same name overrides it. What is
unknown or invalid raises `SettingsError`, whose message is one line that names the setting.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from domain.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "TAKEDOWN_"

_LONGEST_SECRET = 65_536

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s,:\[\]]+):(?P<port>[0-9]{1,5})")
_PORTS = range(65536)
_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[A-Za-z0-9._~!$&'()*+,;=:%/-]*)?")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: as the attribute of `Settings`; the variable and the flag follow from it.
        parse: from text to value; raises ValueError that completes "must be ...".
        default: as text.
        help: one line.
        secret: it is never shown, and taken as it is, spaces and all. It can be in a file instead,
            which a variable and a flag of the same name with `_FILE` and `-file` name.
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
        return Setting(f"{self.name}_file", _text, "", f"file that holds {self.variable} instead")

    @property
    def switch(self) -> bool:
        """Whether it is true or false: then the flag alone, without a value, means true."""
        return self.parse in {_flag, _flag_or_empty}


def _text(text: str) -> str:
    return text


def _required(text: str) -> str:
    if not text:
        raise ValueError("not empty")
    return text


def _integer(low: int, high: int | None = None) -> Callable[[str], int]:
    span = f"a whole number from {low}" + (f" to {high}" if high is not None else "")

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise ValueError(span)
        number = int(text)
        if number < low or (high is not None and number > high):
            raise ValueError(span)
        return number

    return parse


def _number(what: str, low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise ValueError(f"{what}, from {low:g} to {high:g}")
        return number

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    return _number("seconds", low, high)


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(filter(None, choices)))
        return text

    return parse


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("true or false")
    return text == "true"


def _flag_or_empty(text: str) -> bool | None:
    if text not in {"", "true", "false"}:
        raise ValueError("true or false, or empty")
    return _flag(text) if text else None


def _topic(text: str) -> str:
    if not _TOPIC.fullmatch(text) or text in {".", ".."}:
        raise ValueError("a topic name: up to 249 letters, digits, '.', '_' and '-'")
    return text


def _servers(text: str) -> str:
    servers = [server.strip() for server in text.split(",")] if text.strip() else []
    for server in servers:
        match = _SERVER.fullmatch(server)
        if match is None or int(match["port"]) not in _PORTS or int(match["port"]) == 0:
            raise ValueError(f"a comma-separated list of host:port, which {server!r} is not")
    return ",".join(servers)


class _Undisclosed(ValueError):
    """The value is not repeated in the message: it holds what nobody should read there."""


def _url(text: str) -> str:
    if not text:
        return ""
    wanted = "http:// or https://, host[:port] and perhaps a path, without query and fragment"
    if "@" in text:
        raise _Undisclosed(f"{wanted}, and without credentials")
    try:
        url = urlsplit(text)
        known = _URL.fullmatch(text) is not None and url.hostname and url.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError(wanted)
    return text.rstrip("/")


def _replication(text: str) -> int:
    return -1 if text == "" else _integer(1, 32767)(text)


_PORT = _integer(0, 65535)
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_OAUTH = "OAUTHBEARER"
_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", _OAUTH)

SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            "kafka_bootstrap_servers",
            _servers,
            "",
            "comma-separated host:port list",
        ),
        Setting(
            "embedded_broker",
            _flag,
            "false",
            "true or false: without servers, start the embedded broker; `demo` always does",
        ),
        Setting(
            "kafka_fetch_max_wait",
            _seconds(0.001, 30),
            "0.5",
            "seconds a broker may hold a fetch back; the embedded broker needs 0.01",
        ),
        Setting(
            "kafka_request_timeout",
            _seconds(0.5, 300),
            "10",
            "seconds until a request to a broker is given up",
        ),
        Setting(
            "kafka_security_protocol",
            _choice(*_PROTOCOLS),
            "PLAINTEXT",
            ", ".join(_PROTOCOLS),
        ),
        Setting("kafka_ssl_ca", _text, "", "PEM file of who signs brokers; empty: the system's"),
        Setting("kafka_ssl_certificate", _text, "", "PEM file of our own certificate"),
        Setting("kafka_ssl_key", _text, "", "PEM file of its key; empty: in the certificate's"),
        Setting("kafka_ssl_key_password", _text, "", "password of that key", secret=True),
        Setting("kafka_sasl_mechanism", _choice("", *_MECHANISMS), "", ", ".join(_MECHANISMS)),
        Setting("kafka_sasl_username", _text, "", "for every mechanism but OAUTHBEARER"),
        Setting(
            "kafka_sasl_password",
            _text,
            "",
            "the same; better in the environment than in a flag, which others can see",
            secret=True,
        ),
        Setting(
            "kafka_oauth_token_file",
            _text,
            "",
            "for OAUTHBEARER: file with the token, read anew for each connection",
        ),
        Setting("http_host", _required, "127.0.0.1", "address of the public API"),
        Setting("http_port", _PORT, "8080", "port of the public API; 0 takes a free one"),
        Setting(
            "http_max_connections",
            _integer(1, 1_000_000),
            "12000",
            "connections at the public API; more are closed",
        ),
        Setting(
            "http_keepalive",
            _seconds(1, 3600),
            "75",
            "seconds for which an idle connection is kept; more than the proxy in front keeps it",
        ),
        Setting("admin_host", _required, "127.0.0.1", "address of the admin API"),
        Setting("admin_port", _PORT, "8081", "port of the admin API; 0 takes a free one"),
        Setting(
            "timeout",
            _seconds(0.1, 3600),
            "10",
            "seconds from accepting a request to its answer, at the latest",
        ),
        Setting(
            "shutdown_grace",
            _seconds(0, 600),
            "5",
            "seconds after SIGTERM for which /readyz is 503 while requests are still served",
        ),
        Setting(
            "pool_max", _integer(1, 10_000_000), "10000", "takedowns in flight; more get a 503"
        ),
        Setting(
            "containers_max",
            _integer(1, 1_000_000),
            "10000",
            "containers of an item; one in more gets a 503, and nothing is published",
        ),
        Setting(
            "wait_for_kafka",
            _seconds(0, 60),
            "2",
            "seconds for which a request waits, with nothing published, for a Kafka that is away",
        ),
        Setting(
            "workers",
            _integer(1, 256),
            "1",
            "processes that share the callers' port, the pool and the connections",
        ),
        Setting(
            "follow_changes",
            _flag,
            "true",
            "true or false: an item's newer list changes its takedown while it is in flight",
        ),
        Setting(
            "clock_tolerance",
            _seconds(0, 3600),
            "1",
            "seconds by which a deletion may be dated before the list of its container and count",
        ),
        Setting("topic_item_reported", _topic, "item_reported", "topic of the delete requests"),
        Setting("topic_item_deleted", _topic, "item_deleted", "topic of the deletions"),
        Setting("topic_item_published", _topic, "item_published", "topic of the items' lists"),
        Setting(
            "topics_create",
            _flag_or_empty,
            "",
            "true or false: create missing topics; empty: only on the embedded broker",
        ),
        Setting(
            "catalogue_may_be_empty",
            _flag_or_empty,
            "",
            "true or false: an item_published without a single readable list means that there are "
            "no items; false: not ready; empty: true only on the embedded broker",
        ),
        Setting(
            "catalogue_may_expire",
            _flag,
            "false",
            "true or false: items older than the retention of item_published count as gone; "
            "false: not ready while it has a retention",
        ),
        Setting(
            "catalogue_folder",
            _text,
            "",
            "folder in which the catalogue is kept; empty: in the user's data folder, and with "
            "the embedded broker a temporary one",
        ),
        Setting(
            "catalogue_url",
            _url,
            "",
            "base URL of the Items service, asked instead of reading that topic; empty: the topic",
        ),
        Setting(
            "catalogue_url_timeout",
            _seconds(0.05, 60),
            "2",
            "seconds until one request to it is given up, and perhaps tried again",
        ),
        Setting("topic_partitions", _integer(1, 100_000), "6", "of a topic that must be created"),
        Setting(
            "topic_replication",
            _replication,
            "",
            "of a topic that must be created; empty leaves it to the broker",
        ),
        Setting(
            "log_format",
            _choice("auto", "console", "json"),
            "auto",
            "console, json, or auto: console on a terminal, else json",
        ),
        Setting(
            "log_level", _choice("debug", "info", "warning", "error"), "info", "least log level"
        ),
        Setting(
            "traces",
            _choice("off", "otlp"),
            "off",
            "off, or otlp: spans, by OTEL_... variables; needs the extra tracing",
        ),
        Setting("broker_port", _PORT, "9092", "port of `takedown broker`; 0 takes a free one"),
        Setting("items_http_host", _required, "127.0.0.1", "address of the Items service"),
        Setting("items_http_port", _PORT, "8082", "port of the Items service; 0: a free one"),
        Setting("items_database", _required, ":memory:", "file of the Items service's database"),
        Setting("items_sample", _flag, "false", "start the Items service with sample items"),
        Setting(
            "items_faults", _text, "", "faults of the Items service, such as latency=0.2,drop=0.1"
        ),
        Setting(
            "load",
            _number("a number for each second", 0, 200),
            "0",
            "takedowns for each second that the demo asks for itself; 0: none",
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting's value; see `SETTINGS` for what each means and how it is checked."""

    kafka_bootstrap_servers: str
    embedded_broker: bool
    kafka_fetch_max_wait: float
    kafka_request_timeout: float
    kafka_security_protocol: str
    kafka_ssl_ca: str
    kafka_ssl_certificate: str
    kafka_ssl_key: str
    kafka_ssl_key_password: str = field(repr=False)
    kafka_sasl_mechanism: str
    kafka_sasl_username: str
    kafka_sasl_password: str = field(repr=False)
    kafka_oauth_token_file: str
    http_host: str
    http_port: int
    http_max_connections: int
    http_keepalive: float
    admin_host: str
    admin_port: int
    timeout: float
    shutdown_grace: float
    pool_max: int
    containers_max: int
    wait_for_kafka: float
    workers: int
    follow_changes: bool
    clock_tolerance: float
    topic_item_reported: str
    topic_item_deleted: str
    topic_item_published: str
    topics_create: bool | None
    catalogue_may_be_empty: bool | None
    catalogue_may_expire: bool
    catalogue_folder: str
    catalogue_url: str
    catalogue_url_timeout: float
    topic_partitions: int
    topic_replication: int
    log_format: str
    log_level: str
    traces: str
    broker_port: int
    items_http_host: str
    items_http_port: int
    items_database: str
    items_sample: bool
    items_faults: str
    load: float

    def __post_init__(self) -> None:
        """Check what concerns more than one setting."""
        if self.embedded_broker and self.kafka_bootstrap_servers:
            raise SettingsError(
                f"{_variable('embedded_broker')}=true has no meaning with "
                f"{_variable('kafka_bootstrap_servers')}, which names another broker"
            )
        topics = (self.topic_item_reported, self.topic_item_deleted, self.topic_item_published)
        if len(set(topics)) != len(topics):
            raise SettingsError(
                "TAKEDOWN_TOPIC_ITEM_REPORTED, ..._DELETED and ..._PUBLISHED must be three "
                f"different topics, not {', '.join(topics)}"
            )
        doors = [(self.http_host, self.http_port), (self.admin_host, self.admin_port)]
        if doors[0] == doors[1] and self.http_port != 0:
            raise SettingsError(
                f"TAKEDOWN_ADMIN_PORT must differ from TAKEDOWN_HTTP_PORT, {self.http_port}"
            )
        for name in ("pool_max", "http_max_connections"):
            if getattr(self, name) < self.workers:
                raise SettingsError(
                    f"{_variable(name)} is shared among the workers: it must be at least "
                    f"{_variable('workers')}, {self.workers}"
                )
        self._check_tls()
        self._check_sasl()

    @property
    def creates_topics(self) -> bool:
        """Whether missing topics are created: `topics_create`, or what the broker implies."""
        return self._implied(self.topics_create)

    @property
    def allows_empty_catalogue(self) -> bool:
        """Whether an `item_published` that never had a record counts as a catalogue."""
        return self._implied(self.catalogue_may_be_empty)

    def _implied(self, given: bool | None) -> bool:
        # Nothing but us writes to the embedded broker, and it forgets everything when it stops.
        return not self.kafka_bootstrap_servers if given is None else given

    def require_broker(self) -> None:
        """Check that these settings say which broker is used.

        Raises:
            SettingsError: neither a server nor the embedded broker is named.
        """
        if not self.kafka_bootstrap_servers and not self.embedded_broker:
            raise SettingsError(
                f"{_variable('kafka_bootstrap_servers')} must be set; "
                f"{_variable('embedded_broker')}=true (or {SETTINGS['embedded_broker'].flag}) "
                "starts an empty broker for development instead"
            )

    def with_servers(self, servers: str, fetch_max_wait: float) -> Settings:
        """The same settings for a part or a process that uses a broker which runs already.

        Args:
            servers: the broker's `host:port` list; it may be the embedded broker's.
            fetch_max_wait: seconds that it may hold a fetch back.
        """
        return replace(
            self,
            kafka_bootstrap_servers=servers,
            kafka_fetch_max_wait=fetch_max_wait,
            embedded_broker=False,
            topics_create=self.creates_topics,
            catalogue_may_be_empty=self.allows_empty_catalogue,
        )

    def _check_tls(self) -> None:
        if not self.kafka_security_protocol.endswith("SSL"):
            self._refuse(
                (
                    "kafka_ssl_ca",
                    "kafka_ssl_certificate",
                    "kafka_ssl_key",
                    "kafka_ssl_key_password",
                ),
                f"has no meaning: {_variable('kafka_security_protocol')} is "
                f"{self.kafka_security_protocol}, without TLS",
            )
        elif not self.kafka_ssl_certificate:
            self._refuse(
                ("kafka_ssl_key", "kafka_ssl_key_password"),
                f"has no meaning without {_variable('kafka_ssl_certificate')}",
            )

    def _check_sasl(self) -> None:
        mechanism = self.kafka_sasl_mechanism
        by_name = ("kafka_sasl_username", "kafka_sasl_password")
        by_token = ("kafka_oauth_token_file",)
        if not self.kafka_security_protocol.startswith("SASL"):
            self._refuse(
                ("kafka_sasl_mechanism", *by_name, *by_token),
                f"has no meaning: {_variable('kafka_security_protocol')} is "
                f"{self.kafka_security_protocol}, without a login",
            )
            return
        self._require(("kafka_sasl_mechanism",), self.kafka_security_protocol)
        required, refused = (by_token, by_name) if mechanism == _OAUTH else (by_name, by_token)
        self._require(required, mechanism)
        self._refuse(refused, f"has no meaning for {mechanism}")

    def _require(self, names: tuple[str, ...], by: str) -> None:
        for name in names:
            if not getattr(self, name):
                raise SettingsError(f"{_variable(name)} must be set for {by}")

    def _refuse(self, names: tuple[str, ...], why: str) -> None:
        for name in names:
            if getattr(self, name):
                raise SettingsError(f"{_variable(name)} {why}")


def _variable(name: str) -> str:
    return SETTINGS[name].variable


def load(
    environment: Mapping[str, str],
    flags: Mapping[str, str | None],
    defaults: Mapping[str, str] | None = None,
) -> Settings:
    """The settings from the environment, overridden by flags (by setting name; None: not given).

    `defaults` (by setting name) replace those of `SETTINGS` for one command.

    Raises:
        SettingsError: a variable of ours that is unknown, or a value that is invalid.
    """
    known = {setting.variable for setting in SETTINGS.values()}
    known |= {setting.in_file.variable for setting in SETTINGS.values() if setting.secret}
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in known:
            # Without the prefix, which would make anything look alike.
            names = sorted(each.removeprefix(PREFIX) for each in known)
            close = get_close_matches(variable.removeprefix(PREFIX), names, n=1)
            hint = f"; is {PREFIX}{close[0]} meant?" if close else ""
            raise SettingsError(f"{variable} is not a setting{hint}")
    values = {}
    for name, setting in SETTINGS.items():
        text, shown = _given(setting, environment, flags)
        if setting.secret:
            text = _from_file(setting, environment, flags, unless=text)
        if text is None:
            text = (defaults or {}).get(name, setting.default)
        try:
            values[name] = setting.parse(text if setting.secret else text.strip())
        except _Undisclosed as error:
            raise SettingsError(f"{shown} must be {error}") from None
        except ValueError as error:
            given = "" if setting.secret else f"; it is {text!r}"
            raise SettingsError(f"{shown} must be {error}{given}") from None
    return Settings(**values)


def _given(
    setting: Setting, environment: Mapping[str, str], flags: Mapping[str, str | None]
) -> tuple[str | None, str]:
    """Its text, if it is given, and the name by which it is."""
    flag = flags.get(setting.name)
    if flag is not None:
        return flag, setting.flag
    return environment.get(setting.variable), setting.variable


def _from_file(
    setting: Setting,
    environment: Mapping[str, str],
    flags: Mapping[str, str | None],
    *,
    unless: str | None,
) -> str | None:
    """A secret out of its file, if one is named. Neither it nor the path is in any message.

    Raises:
        SettingsError: it is given itself, too, or the file cannot be used.
    """
    path, shown = _given(setting.in_file, environment, flags)
    if not path:
        return unless
    if unless:
        _, other = _given(setting, environment, flags)
        raise SettingsError(f"{other} and {shown} are both given: only one of them may be")
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LONGEST_SECRET + 1)
    except (OSError, ValueError) as error:  # a path can be no path at all
        reason = getattr(error, "strerror", None) or "it is no path"
        raise SettingsError(f"{shown} names a file that cannot be read: {reason}") from None
    if len(data) > _LONGEST_SECRET:
        raise SettingsError(f"{shown} names a file of more than {_LONGEST_SECRET} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{shown} names a file that is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise SettingsError(f"{shown} names a file that is empty")
    return text


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables from which `load` makes these settings again, in another process."""
    return {
        setting.variable: _as_text(name, getattr(settings, name))
        for name, setting in SETTINGS.items()
    }


def _as_text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if name == "topic_replication" and value == -1:
        return ""
    return "" if value is None else str(value)


assert [each.name for each in fields(Settings)] == list(SETTINGS)
