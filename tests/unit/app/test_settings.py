"""Every setting: its default, its variable, its flag, and what it refuses, in one line."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from app.setting_table import SETTINGS
from app.settings import Settings, as_environment, load
from domain.errors import SettingsError

DEFAULTS: dict[str, Any] = {
    "kafka_bootstrap_servers": "",
    "embedded_broker": False,
    "kafka_fetch_max_wait": 0.5,
    "kafka_request_timeout": 10.0,
    "kafka_security_protocol": "PLAINTEXT",
    "kafka_ssl_ca": "",
    "kafka_ssl_certificate": "",
    "kafka_ssl_key": "",
    "kafka_ssl_key_password": "",
    "kafka_sasl_mechanism": "",
    "kafka_sasl_username": "",
    "kafka_sasl_password": "",
    "kafka_oauth_token_file": "",
    "http_host": "127.0.0.1",
    "http_port": 8080,
    "http_max_connections": 12000,
    "http_keepalive": 75.0,
    "admin_host": "127.0.0.1",
    "admin_port": 8081,
    "timeout": 10.0,
    "shutdown_grace": 5.0,
    "pool_max": 10000,
    "containers_max": 10000,
    "wait_for_kafka": 2.0,
    "clock_tolerance": 1.0,
    "workers": 1,
    "follow_changes": True,
    "topic_item_reported": "item_reported",
    "topic_item_deleted": "item_deleted",
    "topic_item_published": "item_published",
    "topics_create": None,
    "catalogue_may_be_empty": None,
    "catalogue_may_expire": False,
    "catalogue_folder": "",
    "catalogue_url": "",
    "catalogue_url_timeout": 2.0,
    "topic_partitions": 6,
    "topic_replication": -1,
    "log_format": "auto",
    "log_level": "info",
    "traces": "off",
    "broker_port": 9092,
    "items_http_host": "127.0.0.1",
    "items_http_port": 8082,
    "items_database": ":memory:",
    "items_sample": False,
    "items_faults": "",
    "load": 0.0,
}

# Texts that a setting takes, with what they mean.
VALID: dict[str, dict[str, Any]] = {
    "kafka_bootstrap_servers": {
        "broker:9092": "broker:9092",
        " a:1 , b.example.org:65535 ": "a:1,b.example.org:65535",
        "[::1]:9092": "[::1]:9092",
        "10.0.0.1:9092": "10.0.0.1:9092",
    },
    "embedded_broker": {"true": True, "false": False},
    "kafka_fetch_max_wait": {"0.01": 0.01, "30": 30.0},
    "kafka_request_timeout": {"0.5": 0.5, "300": 300.0},
    "http_host": {"0.0.0.0": "0.0.0.0", "::": "::"},  # noqa: S104 - a text, not a socket
    "http_port": {"0": 0, "65535": 65535, " 99 ": 99},
    "http_max_connections": {"1": 1},
    "http_keepalive": {"1": 1.0, "3600": 3600.0},
    "admin_host": {"localhost": "localhost"},
    "admin_port": {"0": 0, "1": 1},
    "shutdown_grace": {"0": 0.0, "600": 600.0},
    "timeout": {"0.1": 0.1, "2.5": 2.5, "3600": 3600.0, "1e1": 10.0},
    "pool_max": {"1": 1, "10000000": 10_000_000},
    "containers_max": {"1": 1, "1000000": 1_000_000},
    "wait_for_kafka": {"0": 0.0, "0.5": 0.5, "60": 60.0},
    "clock_tolerance": {"0": 0.0, "0.25": 0.25, "3600": 3600.0},
    "workers": {"1": 1, "256": 256},
    "follow_changes": {"true": True, "false": False},
    "topic_item_reported": {"a.b_c-D1": "a.b_c-D1", "x" * 249: "x" * 249},
    "topic_item_deleted": {"deleted": "deleted"},
    "topic_item_published": {"published": "published"},
    "topics_create": {"true": True, "false": False, "": None},
    "catalogue_may_be_empty": {"true": True, "false": False, " ": None},
    "catalogue_may_expire": {"true": True, "false": False},
    "catalogue_url": {
        "http://items": "http://items",
        "https://items.example.org:8443/api/v1/": "https://items.example.org:8443/api/v1",
        "http://[::1]:8082": "http://[::1]:8082",
        " http://10.0.0.1/ ": "http://10.0.0.1",
    },
    "catalogue_url_timeout": {"0.05": 0.05, "60": 60.0},
    "catalogue_folder": {"": "", "/var/lib/takedown": "/var/lib/takedown"},
    "topic_partitions": {"1": 1, "100000": 100_000},
    "topic_replication": {"": -1, "1": 1, "3": 3},
    "log_format": {"auto": "auto", "console": "console", "json": "json"},
    "log_level": {"debug": "debug", "warning": "warning", "error": "error"},
    "traces": {"off": "off", "otlp": "otlp"},
    "broker_port": {"0": 0},
    "items_http_host": {"::1": "::1"},
    "items_http_port": {"0": 0},
    "items_database": {"/var/lib/items.db": "/var/lib/items.db"},
    "items_sample": {"true": True, "false": False},
    "load": {"0": 0.0, "0.5": 0.5, "200": 200.0},
    "items_faults": {"latency=0.2,drop=0.1": "latency=0.2,drop=0.1"},
}

NO_PORTS = ["", "-1", "65536", "80.0", "http", "0x50", "8080,8081", "8_0", "٣", "9" * 50]
NO_TOPICS = ["", ".", "..", "a b", "a/b", "ü", "x" * 250, "a\nb", "a:b"]

INVALID: dict[str, list[str]] = {
    "kafka_bootstrap_servers": [
        "broker",
        "broker:",
        ":9092",
        "broker:0",
        "broker:65536",
        "broker:kafka",
        "a:1,,b:2",
        "a:1;b:2",
        "http://a:1",
        "::1:9092",
        "a b:1",
        "a:1\nb:2",
        ",",
    ],
    "embedded_broker": ["", "yes", "1", "True"],
    "kafka_fetch_max_wait": ["", "0", "31", "-1", "fast", "nan"],
    "kafka_request_timeout": ["0.4", "301"],
    "kafka_security_protocol": ["", "plaintext", "TLS"],
    "kafka_sasl_mechanism": ["plain", "GSSAPI"],
    "http_host": ["", "  "],
    "http_port": NO_PORTS,
    "http_max_connections": ["", "0", "-1", "many"],
    "http_keepalive": ["", "0.9", "3601", "never"],
    "shutdown_grace": ["", "-1", "601", "soon"],
    "admin_host": [""],
    "admin_port": NO_PORTS,
    "timeout": ["", "0", "-1", "0.09", "3601", "ten", "10s", "nan", "inf", "-inf", "1,5"],
    "pool_max": ["", "0", "-1", "1.5", "10000001", "lots"],
    "containers_max": ["", "0", "-1", "1000001"],
    "wait_for_kafka": ["", "-0.1", "60.1", "2s"],
    "clock_tolerance": ["", "-0.001", "3600.1", "1s", "nan"],
    "workers": ["", "0", "257", "auto"],
    "follow_changes": ["", "yes", "1", "True"],
    "topic_item_reported": NO_TOPICS,
    "topic_item_deleted": NO_TOPICS,
    "topic_item_published": NO_TOPICS,
    "topics_create": ["yes", "1", "True", "auto"],
    "catalogue_may_be_empty": ["no", "0", "False"],
    "catalogue_may_expire": ["", "yes", "0"],
    "catalogue_url": [
        "items:8082",
        "/items",
        "ftp://items",
        "http://",
        "http:///items",
        "http://:8082",
        "http://items:0",
        "http://items:65536",
        "http://items:http",
        "http://items?tenant=1",
        "http://items/#top",
        "http://items/a b",
        "http://items/a\nb",
        "http://[::1",
        "HTTP//items",
        "http://ïtems",
    ],
    "catalogue_url_timeout": ["", "0", "61", "nan"],
    "topic_partitions": ["", "0", "-1", "100001", "six"],
    "topic_replication": ["0", "-1", "32768", "all"],
    "log_format": ["", "JSON", "text"],
    "log_level": ["", "INFO", "trace", "20"],
    "traces": ["", "on", "OTLP", "console"],
    "broker_port": NO_PORTS,
    "items_http_host": [""],
    "items_http_port": NO_PORTS,
    "items_database": [""],
    "items_sample": ["", "yes", "1", "True"],
    "load": ["", "-1", "201", "nan", "many"],
}

FREE_TEXT = {
    "items_faults",
    "kafka_ssl_ca",
    "kafka_ssl_certificate",
    "kafka_ssl_key",
    "kafka_ssl_key_password",
    "catalogue_folder",
    "kafka_sasl_username",
    "kafka_sasl_password",
    "kafka_oauth_token_file",
}


def variable(name: str) -> str:
    return "TAKEDOWN_" + name.upper()


def refusal(environment: dict[str, str], flags: dict[str, str | None] | None = None) -> str:
    with pytest.raises(SettingsError) as raised:
        load(environment, flags or {})
    message = str(raised.value)
    assert message
    assert "\n" not in message
    return message


def test_every_setting_is_tested_here() -> None:
    assert set(DEFAULTS) == set(SETTINGS)
    assert set(INVALID) == set(SETTINGS) - FREE_TEXT


def test_without_environment_and_flags_every_setting_has_its_default() -> None:
    assert dataclasses.asdict(load({}, {})) == DEFAULTS


def test_names_of_variables_and_flags_follow_from_the_settings_name() -> None:
    assert SETTINGS["topic_item_reported"].variable == "TAKEDOWN_TOPIC_ITEM_REPORTED"
    assert SETTINGS["topic_item_reported"].flag == "--topic-item-reported"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [(name, text, value) for name, values in VALID.items() for text, value in values.items()],
)
def test_a_variable_sets_its_setting_and_no_other(name: str, text: str, value: Any) -> None:
    assert dataclasses.asdict(load({variable(name): text}, {})) == DEFAULTS | {name: value}


@pytest.mark.parametrize("name", VALID)
def test_a_flag_overrides_the_variable_though_that_is_invalid(name: str) -> None:
    text, value = next(iter(VALID[name].items()))
    environment = {variable(name): INVALID.get(name, ["anything"])[0]}
    assert getattr(load(environment, {name: text}), name) == value


@pytest.mark.parametrize("name", SETTINGS)
def test_a_flag_that_is_not_given_overrides_nothing(name: str) -> None:
    assert load({}, {name: None}) == load({}, {})


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in INVALID.items() for text in texts]
)
def test_an_invalid_variable_is_named_in_one_line_with_its_value(name: str, text: str) -> None:
    message = refusal({variable(name): text})
    assert message.startswith(f"{variable(name)} must be ")
    assert repr(text) in message


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_flag_is_named_as_a_flag(name: str) -> None:
    message = refusal({}, {name: INVALID[name][-1]})
    assert message.startswith("--" + name.replace("_", "-") + " must be ")


def test_an_unknown_variable_of_ours_is_refused_with_a_hint() -> None:
    message = refusal({"TAKEDOWN_HTTP_PROT": "8080"})
    assert message == "TAKEDOWN_HTTP_PROT is not a setting; is TAKEDOWN_HTTP_PORT meant?"


def test_an_unknown_variable_like_none_of_ours_is_refused_without_a_hint() -> None:
    assert refusal({"TAKEDOWN_ZZZ": ""}) == "TAKEDOWN_ZZZ is not a setting"


def test_variables_of_others_are_none_of_our_business() -> None:
    environment = {"PATH": "/bin", "HTTP_PORT": "x", "takedown_http_port": "x", "TAKEDOWN": "x"}
    assert load(environment, {}) == load({}, {})


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in VALID.items() for text in texts]
)
def test_settings_are_the_same_in_a_process_that_gets_them_as_its_environment(
    name: str, text: str
) -> None:
    settings = load({variable(name): text}, {})
    assert load(as_environment(settings), {}) == settings


@pytest.mark.parametrize("name", ["pool_max", "http_max_connections"])
def test_what_workers_share_is_enough_for_each(name: str) -> None:
    assert load({variable(name): "3", "TAKEDOWN_WORKERS": "3"}, {}).workers == 3
    message = refusal({variable(name): "2", "TAKEDOWN_WORKERS": "3"})
    assert message.startswith(f"{variable(name)} is shared among the workers")


# ------------------------------------------------------------------------- which broker it is


def test_servers_and_the_embedded_broker_exclude_each_other() -> None:
    message = refusal(
        {"TAKEDOWN_EMBEDDED_BROKER": "true", "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS": "a:1"}
    )
    assert "TAKEDOWN_EMBEDDED_BROKER" in message
    assert "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS" in message


def test_a_broker_must_be_given_or_the_embedded_one_asked_for() -> None:
    load({"TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS": "a:1"}, {}).require_broker()
    load({"TAKEDOWN_EMBEDDED_BROKER": "true"}, {}).require_broker()
    with pytest.raises(SettingsError) as raised:
        load({}, {}).require_broker()
    for named in ("TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS", "TAKEDOWN_EMBEDDED_BROKER=true"):
        assert named in str(raised.value)
    assert "--embedded-broker" in str(raised.value)


@pytest.mark.parametrize("servers", ["", "a:1"])
@pytest.mark.parametrize("given", [None, "true", "false"])
def test_topics_are_created_and_may_be_empty_on_the_embedded_broker_alone_if_not_said_otherwise(
    given: str | None, servers: str
) -> None:
    flags = {
        "kafka_bootstrap_servers": servers,
        "topics_create": given,
        "catalogue_may_be_empty": given,
    }
    settings = load({}, flags)
    wanted = not servers if given is None else given == "true"
    assert settings.creates_topics is wanted
    assert settings.allows_empty_catalogue is wanted


def test_what_the_embedded_broker_implies_holds_for_other_processes_that_use_it() -> None:
    settings = load({"TAKEDOWN_EMBEDDED_BROKER": "true"}, {}).with_servers("127.0.0.1:5", 0.01)
    passed_on = load(as_environment(settings), {})
    assert passed_on == settings
    assert passed_on.kafka_bootstrap_servers == "127.0.0.1:5"
    assert passed_on.kafka_fetch_max_wait == 0.01
    assert passed_on.creates_topics
    assert passed_on.allows_empty_catalogue
    passed_on.require_broker()


def test_what_given_servers_imply_holds_for_other_processes_too() -> None:
    settings = load({"TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS": "a:1"}, {}).with_servers("a:1", 0.5)
    assert not settings.creates_topics
    assert not settings.allows_empty_catalogue


TOPICS = ["topic_item_reported", "topic_item_deleted", "topic_item_published"]


@pytest.mark.parametrize(("one", "two"), [(0, 1), (0, 2), (1, 2)])
def test_the_three_topics_must_be_three(one: int, two: int) -> None:
    message = refusal({variable(TOPICS[one]): "same", variable(TOPICS[two]): "same"})
    assert "TAKEDOWN_TOPIC_ITEM_REPORTED" in message
    assert "same" in message


def test_the_doors_must_not_have_the_same_address() -> None:
    message = refusal({"TAKEDOWN_ADMIN_PORT": "8080"})
    assert "TAKEDOWN_ADMIN_PORT must differ from TAKEDOWN_HTTP_PORT, 8080" in message


def test_the_doors_may_both_take_any_free_port() -> None:
    settings = load({"TAKEDOWN_ADMIN_PORT": "0", "TAKEDOWN_HTTP_PORT": "0"}, {})
    assert settings.http_port == settings.admin_port == 0


def test_the_doors_may_have_the_same_port_at_different_hosts() -> None:
    settings = load({"TAKEDOWN_ADMIN_PORT": "8080", "TAKEDOWN_ADMIN_HOST": "10.0.0.1"}, {})
    assert settings.http_port == settings.admin_port


def test_settings_are_frozen() -> None:
    settings = load({}, {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.timeout = 1.0  # type: ignore[misc]


def test_every_setting_has_a_help_line() -> None:
    for setting in SETTINGS.values():
        assert setting.help
        assert "\n" not in setting.help


def test_no_secret_is_shown() -> None:
    secrets = [name for name, setting in SETTINGS.items() if setting.secret]
    assert secrets == ["kafka_ssl_key_password", "kafka_sasl_password"]
    shown = {field.name for field in dataclasses.fields(Settings) if field.repr}
    assert not shown & set(secrets)


# ------------------------------------------------------------------- TLS and login to Kafka

PLAIN = {
    "TAKEDOWN_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "TAKEDOWN_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "TAKEDOWN_KAFKA_SASL_USERNAME": "takedown",
    "TAKEDOWN_KAFKA_SASL_PASSWORD": " pass word ",
}
TOKEN = {
    "TAKEDOWN_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "TAKEDOWN_KAFKA_SASL_MECHANISM": "OAUTHBEARER",
    "TAKEDOWN_KAFKA_OAUTH_TOKEN_FILE": "/run/token",
}
TLS = {
    "TAKEDOWN_KAFKA_SECURITY_PROTOCOL": "SSL",
    "TAKEDOWN_KAFKA_SSL_CA": "ca.pem",
    "TAKEDOWN_KAFKA_SSL_CERTIFICATE": "mine.pem",
    "TAKEDOWN_KAFKA_SSL_KEY": "key.pem",
    "TAKEDOWN_KAFKA_SSL_KEY_PASSWORD": "secret",
}


@pytest.mark.parametrize("environment", [PLAIN, TOKEN, TLS])
def test_a_complete_login_is_taken(environment: dict[str, str]) -> None:
    settings = load(environment, {})
    for name, value in environment.items():
        assert getattr(settings, name.removeprefix("TAKEDOWN_").lower()) == value


@pytest.mark.parametrize(
    ("environment", "missing"),
    [(PLAIN, name) for name in PLAIN if not name.endswith("PROTOCOL")]
    + [(TOKEN, name) for name in TOKEN if not name.endswith("PROTOCOL")],
)
def test_an_incomplete_login_is_named(environment: dict[str, str], missing: str) -> None:
    message = refusal({k: v for k, v in environment.items() if k != missing})
    assert message.startswith(f"{missing} must be set for ")


@pytest.mark.parametrize("name", [n for n in (PLAIN | TOKEN | TLS) if "PROTOCOL" not in n])
def test_what_has_no_meaning_without_tls_or_login_is_named(name: str) -> None:
    message = refusal({name: (PLAIN | TOKEN | TLS)[name]})
    assert message.startswith(f"{name} has no meaning")
    assert "TAKEDOWN_KAFKA_SECURITY_PROTOCOL" in message


def test_a_key_without_a_certificate_is_named() -> None:
    message = refusal({k: v for k, v in TLS.items() if not k.endswith("CERTIFICATE")})
    assert message.startswith("TAKEDOWN_KAFKA_SSL_KEY has no meaning without ")


def test_a_token_and_a_password_exclude_each_other() -> None:
    assert "OAUTHBEARER" in refusal(TOKEN | {"TAKEDOWN_KAFKA_SASL_PASSWORD": "x"})
    assert "SCRAM" in refusal(PLAIN | {"TAKEDOWN_KAFKA_OAUTH_TOKEN_FILE": "x"})


@pytest.mark.parametrize(
    "url",
    ["http://me:secret@items", "http://secret@items", "http://me:secret@items:port", "@secret"],
)
def test_a_url_with_credentials_is_refused_and_they_are_not_shown(url: str) -> None:
    message = refusal({"TAKEDOWN_CATALOGUE_URL": url})
    assert message.startswith("TAKEDOWN_CATALOGUE_URL must be ")
    assert message.endswith("without credentials")
    assert "secret" not in message


def test_a_command_may_have_a_default_of_its_own_that_the_environment_overrides() -> None:
    defaults = {"shutdown_grace": "0"}
    assert load({}, {}, defaults).shutdown_grace == 0
    assert load({"TAKEDOWN_SHUTDOWN_GRACE": "3"}, {}, defaults).shutdown_grace == 3
    assert load({}, {"shutdown_grace": "4"}, defaults).shutdown_grace == 4
