"""The settings: read once, checked at the start, frozen.

Each is an environment variable `TAKEDOWN_...`, and a flag of the same name overrides it. What is
unknown or invalid raises `SettingsError`, whose message is one line that names the setting.
`app/setting_table.py` describes each.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from app.secret_files import read_secret
from app.setting_parsers import Undisclosed
from app.setting_table import OAUTH, PREFIX, SETTINGS
from domain.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.setting_table import Setting


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
        """Check the rules that concern more than one setting."""
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
        servers = [(self.http_host, self.http_port), (self.admin_host, self.admin_port)]
        if servers[0] == servers[1] and self.http_port != 0:
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
        # Only we write to the embedded broker, and it retains nothing when it stops.
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
        """The same settings for a part or a process that uses a broker which already runs.

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
        required, refused = (by_token, by_name) if mechanism == OAUTH else (by_name, by_token)
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
    """The settings from the environment, overridden by flags.

    Args:
        environment: the variables.
        flags: by setting name; None: not given.
        defaults: by setting name; they replace those of `SETTINGS` for one command.

    Raises:
        SettingsError: a variable that begins with `TAKEDOWN_` is not a setting, or a value is
            invalid.
    """
    known = {setting.variable for setting in SETTINGS.values()}
    known |= {setting.in_file.variable for setting in SETTINGS.values() if setting.secret}
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in known:
            # Compared without the prefix, which makes any two names similar.
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
        except Undisclosed as error:
            raise SettingsError(f"{shown} must be {error}") from None
        except ValueError as error:
            given = "" if setting.secret else f"; it is {text!r}"
            raise SettingsError(f"{shown} must be {error}{given}") from None
    return Settings(**values)


def _given(
    setting: Setting, environment: Mapping[str, str], flags: Mapping[str, str | None]
) -> tuple[str | None, str]:
    """The setting's text, if it is given, and the variable or flag that gives it."""
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
    """The text of a secret setting from its file, if one is named; otherwise `unless`.

    Raises:
        SettingsError: the secret itself is given, too, or the file cannot be used.
    """
    path, shown = _given(setting.in_file, environment, flags)
    if not path:
        return unless
    if unless:
        _, other = _given(setting, environment, flags)
        raise SettingsError(f"{other} and {shown} are both given: only one of them may be")
    return read_secret(path, shown)


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables from which `load` builds equal settings in another process."""
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
