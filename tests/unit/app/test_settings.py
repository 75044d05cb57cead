"""The rules that concern several settings, and how settings reach other processes."""

from __future__ import annotations

import dataclasses

import pytest
from support.refused_settings import refusal, variable

from app.setting_table import SETTINGS
from app.settings import Settings, as_environment, load
from domain.errors import SettingsError


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


def test_the_servers_must_not_have_the_same_address() -> None:
    message = refusal({"TAKEDOWN_ADMIN_PORT": "8080"})
    assert "TAKEDOWN_ADMIN_PORT must differ from TAKEDOWN_HTTP_PORT, 8080" in message


def test_the_servers_may_both_take_any_free_port() -> None:
    settings = load({"TAKEDOWN_ADMIN_PORT": "0", "TAKEDOWN_HTTP_PORT": "0"}, {})
    assert settings.http_port == settings.admin_port == 0


def test_the_servers_may_have_the_same_port_at_different_hosts() -> None:
    settings = load({"TAKEDOWN_ADMIN_PORT": "8080", "TAKEDOWN_ADMIN_HOST": "10.0.0.1"}, {})
    assert settings.http_port == settings.admin_port


def test_settings_are_frozen() -> None:
    settings = load({}, {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.timeout = 1.0  # type: ignore[misc]


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
