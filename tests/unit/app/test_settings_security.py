"""How Kafka is reached securely: what is taken, what is refused, what is never shown."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from aiokafka.errors import AuthenticationFailedError
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from support.processes import running

from app.kafka import security_of
from app.setting_table import SETTINGS
from app.settings import Settings, load
from bus.kafka.security import Security, TokenFile
from dev.apache_kafka.certificates import Authority
from domain.errors import SettingsError

SECRET = "correct horse battery"  # noqa: S105 - of these tests only

SCRAM = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "SCRAM-SHA-512",
    "sasl_username": "alice",
    "sasl_password": SECRET,
}


def settings(**kafka: object) -> Settings:
    """Settings with these after TAKEDOWN_KAFKA_."""
    return load({f"TAKEDOWN_KAFKA_{name.upper()}": str(v) for name, v in kafka.items()}, {})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


# ------------------------------------------------------------------------------ what is taken


def test_without_settings_nothing_is_shown_and_nothing_demanded() -> None:
    assert security_of(settings()) == Security()
    assert Security().client_options() == {"security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
def test_a_login_by_password_reaches_every_client(mechanism: str) -> None:
    options = security_of(settings(**SCRAM | {"sasl_mechanism": mechanism})).client_options()
    assert options.pop("ssl_context").check_hostname
    assert options == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "alice",
        "sasl_plain_password": SECRET,
    }


def test_a_login_without_tls_has_no_tls() -> None:
    options = security_of(settings(**SCRAM | {"security_protocol": "SASL_PLAINTEXT"}))
    assert "ssl_context" not in options.client_options()


def test_a_token_is_read_from_its_file_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first.token.\n")
    security = security_of(
        settings(
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="OAUTHBEARER",
            oauth_token_file=file,
        )
    )
    options = security.client_options()
    provider = options["sasl_oauth_token_provider"]
    assert isinstance(provider, TokenFile)
    assert "sasl_plain_username" not in options
    assert asyncio.run(provider.token()) == "first.token."
    file.write_text("second.token.")
    assert asyncio.run(provider.token()) == "second.token."
    file.unlink()
    # What aiokafka takes for a failed connection: anything else would end its own tasks.
    with pytest.raises(AuthenticationFailedError, match="cannot be read: No such file"):
        asyncio.run(provider.token())


@pytest.mark.parametrize("together", [False, True])
def test_a_client_certificate_may_be_in_one_file_with_its_key(
    authority: Authority, together: bool
) -> None:
    identity = authority.client("service")
    if together:
        both = identity.certificate.read_bytes() + identity.key.read_bytes()
        identity.certificate.write_bytes(both)
    tls = security_of(
        settings(
            security_protocol="SSL",
            ssl_ca=authority.certificate,
            ssl_certificate=identity.certificate,
            **({} if together else {"ssl_key": identity.key}),
        )
    ).tls
    assert tls is not None
    assert tls.check_hostname
    assert [ca["subject"] for ca in tls.get_ca_certs()], "only the authority that is named"
    assert len(tls.get_ca_certs()) == 1


def encrypted(key: Path) -> None:
    private = load_pem_private_key(key.read_bytes(), password=None)
    encryption = BestAvailableEncryption(SECRET.encode())
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def test_a_key_with_a_password_is_opened_with_it(authority: Authority) -> None:
    identity = authority.client("service")
    encrypted(identity.key)
    assert security_of(
        settings(
            security_protocol="SSL",
            ssl_certificate=identity.certificate,
            ssl_key=identity.key,
            ssl_key_password=SECRET,
        )
    ).tls


def test_a_password_is_taken_as_it_is_with_its_spaces() -> None:
    assert settings(**SCRAM | {"sasl_password": f" {SECRET} "}).kafka_sasl_password == f" {SECRET} "


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"security_protocol": "TLS"}, "SECURITY_PROTOCOL must be one of PLAINTEXT, SSL,"),
        ({"sasl_mechanism": "GSSAPI"}, "SASL_MECHANISM must be one of SCRAM-SHA-512,"),
        ({"sasl_mechanism": "PLAIN"}, "SASL_MECHANISM has no meaning: .*PROTOCOL is PLAINTEXT"),
        ({"sasl_username": "alice"}, "SASL_USERNAME has no meaning: .*PROTOCOL is PLAINTEXT"),
        ({"sasl_password": SECRET}, "SASL_PASSWORD has no meaning: .*PROTOCOL is PLAINTEXT"),
        ({"oauth_token_file": "f"}, "OAUTH_TOKEN_FILE has no meaning: .*PROTOCOL is PLAINTEXT"),
        ({"ssl_ca": "f"}, "SSL_CA has no meaning: .*PROTOCOL is PLAINTEXT, without TLS"),
        (
            SCRAM | {"security_protocol": "SASL_PLAINTEXT", "ssl_ca": "f"},
            "SSL_CA has no meaning: .*PROTOCOL is SASL_PLAINTEXT, without TLS",
        ),
        ({"security_protocol": "SSL", "ssl_key": "f"}, "SSL_KEY has no meaning without .*CERT"),
        ({"security_protocol": "SSL", "sasl_username": "a"}, "SASL_USERNAME has no meaning"),
        ({"security_protocol": "SASL_SSL"}, "SASL_MECHANISM must be set for SASL_SSL"),
        (SCRAM | {"sasl_username": ""}, "SASL_USERNAME must be set for SCRAM-SHA-512"),
        (SCRAM | {"sasl_password": ""}, "SASL_PASSWORD must be set for SCRAM-SHA-512"),
        (SCRAM | {"oauth_token_file": "f"}, "OAUTH_TOKEN_FILE has no meaning for SCRAM-SHA-512"),
        (SCRAM | {"sasl_mechanism": "OAUTHBEARER"}, "OAUTH_TOKEN_FILE must be set for OAUTHB"),
        (
            SCRAM | {"sasl_mechanism": "OAUTHBEARER", "oauth_token_file": "f"},
            "SASL_USERNAME has no meaning for OAUTHBEARER",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_by_name(
    given: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=f"^TAKEDOWN_KAFKA_{message}") as caught:
        settings(**given)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def refusal(**kafka: object) -> str:
    with pytest.raises(SettingsError) as caught:
        security_of(settings(**kafka))
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    return message


def test_files_that_cannot_be_used_are_refused_by_the_name_of_their_setting(
    authority: Authority, tmp_path: Path
) -> None:
    ours, other = authority.client("ours"), authority.client("other")
    junk, missing = tmp_path / "junk", tmp_path / "missing"
    junk.write_text("junk")
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    ssl = {"security_protocol": "SSL"}
    pair = ssl | {"ssl_certificate": ours.certificate}
    token = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}
    for given, beginning in (
        (ssl | {"ssl_ca": missing}, "SSL_CA cannot be read: No such file"),
        (ssl | {"ssl_ca": tmp_path}, "SSL_CA cannot be read: Is a directory"),
        (ssl | {"ssl_ca": junk}, "SSL_CA has no CERTIFICATE in PEM form"),
        (ssl | {"ssl_ca": broken}, "SSL_CA has no usable certificate"),
        (ssl | {"ssl_certificate": missing}, "SSL_CERTIFICATE cannot be read"),
        (ssl | {"ssl_certificate": junk}, "SSL_CERTIFICATE has no CERTIFICATE in PEM form"),
        (pair, "SSL_CERTIFICATE has no PRIVATE KEY in PEM form"),
        (pair | {"ssl_key": missing}, "SSL_KEY cannot be read"),
        (pair | {"ssl_key": junk}, "SSL_KEY has no PRIVATE KEY in PEM form"),
        (pair | {"ssl_key": other.key}, "SSL_KEY does not belong to the certificate"),
        (token | {"oauth_token_file": missing}, "OAUTH_TOKEN_FILE cannot be read"),
    ):
        assert refusal(**given).startswith(f"TAKEDOWN_KAFKA_{beginning}"), given


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"\xff\xfe", b"a\x01auth=b"])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    message = refusal(
        security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", oauth_token_file=file
    )
    assert message == "TAKEDOWN_KAFKA_OAUTH_TOKEN_FILE holds no token"


def test_a_key_with_a_password_is_never_asked_for_on_the_terminal(authority: Authority) -> None:
    identity = authority.client("service")
    encrypted(identity.key)
    given: dict[str, object] = {
        "security_protocol": "SSL",
        "ssl_certificate": identity.certificate,
        "ssl_key": identity.key,
    }
    prefix = "TAKEDOWN_KAFKA_SSL_KEY_PASSWORD"
    assert refusal(**given) == f"{prefix} is missing: the key is encrypted"
    assert refusal(**given, ssl_key_password="wrong") == f"{prefix} is wrong"  # noqa: S106


@pytest.mark.parametrize(
    ("kafka", "line"),
    [
        (SCRAM | {"sasl_username": ""}, "SASL_USERNAME must be set for SCRAM-SHA-512"),
        (SCRAM | {"ssl_ca": "/nowhere/ca.pem"}, "SSL_CA cannot be read: No such file or directory"),
        (
            SCRAM | {"bootstrap_servers": ""},
            (
                "BOOTSTRAP_SERVERS must be set: the embedded broker does not speak SASL_SSL, "
                "which TAKEDOWN_KAFKA_SECURITY_PROTOCOL names"
            ),
        ),
    ],
)
def test_the_program_ends_with_status_2_and_one_line(kafka: dict[str, str], line: str) -> None:
    given = {f"kafka_{name}": value for name, value in kafka.items()}
    ports = {"http_port": 0, "admin_port": 0}
    servers = {"kafka_bootstrap_servers": "127.0.0.1:1"} | given
    embedded = {} if servers["kafka_bootstrap_servers"] else {"embedded_broker": "true"}
    with running("serve", **(servers | ports | embedded)) as process:
        assert process.wait() == 2
        assert process.lines == [f"takedown: TAKEDOWN_KAFKA_{line}"]


# ------------------------------------------------------------------------ what is never shown


def test_no_secret_is_in_any_repr(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(SECRET.replace(" ", "."))
    loaded = settings(**SCRAM, ssl_ca=authority.certificate)
    token = settings(
        security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", oauth_token_file=file
    )
    shown = repr((loaded, security_of(loaded), security_of(token)))
    assert SECRET not in shown
    assert SECRET.replace(" ", ".") not in shown
    assert "alice" in repr(loaded)


def test_secrets_are_marked_as_such() -> None:
    named = {name for name in SETTINGS if re.search("password|secret", name)}
    assert {name for name, setting in SETTINGS.items() if setting.secret} == named
