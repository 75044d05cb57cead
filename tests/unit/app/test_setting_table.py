"""Every setting: its default, its variable, its flag, and what it refuses, in one line."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.refused_settings import refusal, variable

from app.setting_table import SETTINGS
from app.settings import as_environment, load

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


def test_every_setting_has_a_help_line() -> None:
    for setting in SETTINGS.values():
        assert setting.help
        assert "\n" not in setting.help
