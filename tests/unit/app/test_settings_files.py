"""Secret settings that are in files: what is read, what is refused, and what is never shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.processes import running

from app.setting_table import SETTINGS
from app.settings import as_environment, load
from domain.errors import SettingsError

SECRET = " correct horse battery "  # noqa: S105 - of these tests only
LOGIN = {
    "TAKEDOWN_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "TAKEDOWN_KAFKA_SASL_MECHANISM": "PLAIN",
    "TAKEDOWN_KAFKA_SASL_USERNAME": "alice",
}
PASSWORD = "TAKEDOWN_KAFKA_SASL_PASSWORD"  # noqa: S105 - the name of a setting
FILE = f"{PASSWORD}_FILE"

SECRETS = sorted(name for name, setting in SETTINGS.items() if setting.secret)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    return file


def refusal(environment: Mapping[str, str], flags: Mapping[str, str | None] | None = None) -> str:
    with pytest.raises(SettingsError) as raised:
        load(environment, flags or {})
    text = str(raised.value)
    assert "\n" not in text
    assert "horse" not in text
    return text


def test_there_are_secret_settings() -> None:
    assert "kafka_sasl_password" in SECRETS
    assert "kafka_ssl_key_password" in SECRETS


@pytest.mark.parametrize("name", SECRETS)
def test_each_secret_setting_can_be_in_a_file(name: str, file: Path, tmp_path: Path) -> None:
    environment = {
        **LOGIN,
        PASSWORD: "another",
        "TAKEDOWN_KAFKA_SSL_CERTIFICATE": str(tmp_path),
        f"{SETTINGS[name].variable}_FILE": str(file),
    }
    environment.pop(SETTINGS[name].variable, None)
    assert getattr(load(environment, {}), name) == SECRET


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_one_newline_at_the_end_is_not_part_of_the_secret(end: str, file: Path) -> None:
    file.write_bytes(f"{SECRET}\n{SECRET}{end}".encode())
    settings = load({**LOGIN, FILE: str(file)}, {})
    assert settings.kafka_sasl_password == f"{SECRET}\n{SECRET}"


def test_only_one_newline_is_stripped(file: Path) -> None:
    file.write_text(f"{SECRET}\n\n")
    assert load({**LOGIN, FILE: str(file)}, {}).kafka_sasl_password == f"{SECRET}\n"


def test_the_flag_names_the_file_as_well(file: Path) -> None:
    settings = load(LOGIN, {"kafka_sasl_password_file": str(file)})
    assert settings.kafka_sasl_password == SECRET


def test_a_variable_that_is_empty_is_not_given(file: Path) -> None:
    given = {**LOGIN, PASSWORD: "", FILE: str(file)}
    assert load(given, {}).kafka_sasl_password == SECRET
    given = {**LOGIN, PASSWORD: SECRET, FILE: ""}
    assert load(given, {}).kafka_sasl_password == SECRET


def test_both_at_once_are_refused_and_both_are_named(file: Path) -> None:
    message = "are both given: only one of them may be"
    both = {**LOGIN, PASSWORD: "horse", FILE: str(file)}
    assert refusal(both) == f"{PASSWORD} and {FILE} {message}"
    by_flag = {"kafka_sasl_password_file": str(file)}
    text = refusal({**LOGIN, PASSWORD: "horse"}, by_flag)
    assert text == f"{PASSWORD} and --kafka-sasl-password-file {message}"


def test_a_file_that_cannot_be_read_is_refused_by_its_setting(tmp_path: Path) -> None:
    # The path is not shown, either: somebody may have put the secret itself there.
    reasons = {
        str(tmp_path / "horse"): "No such file or directory",
        str(tmp_path): "Is a directory",
        "horse\0": "it is no path",
    }
    for path, reason in reasons.items():
        assert (
            refusal({**LOGIN, FILE: path}) == f"{FILE} names a file that cannot be read: {reason}"
        )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"horse\xff\n", "is not UTF-8 text"),
    ],
)
def test_a_file_without_a_secret_is_refused(content: bytes, reason: str, file: Path) -> None:
    file.write_bytes(content)
    assert refusal({**LOGIN, FILE: str(file)}) == f"{FILE} names a file that {reason}"


def test_a_file_that_has_no_end_is_refused() -> None:
    assert "more than 65536 bytes" in refusal({**LOGIN, FILE: "/dev/zero"})


def test_what_is_not_secret_cannot_be_in_a_file() -> None:
    text = refusal({"TAKEDOWN_KAFKA_SASL_USERNAME_FILE": "horse"})
    assert text.startswith("TAKEDOWN_KAFKA_SASL_USERNAME_FILE is not a setting")


def test_other_processes_get_the_secret_and_not_the_file(file: Path) -> None:
    environment = as_environment(load({**LOGIN, FILE: str(file)}, {}))
    assert environment[PASSWORD] == SECRET
    assert FILE not in environment
    assert load(environment, {}).kafka_sasl_password == SECRET


def test_the_program_ends_with_status_2_and_one_line(tmp_path: Path) -> None:
    with running("serve", kafka_sasl_password_file=tmp_path / "horse") as process:
        assert process.wait() == 2
        line = f"takedown: {FILE} names a file that cannot be read: No such file or directory"
        assert process.lines == [line]
    given = {"kafka_sasl_password": SECRET}
    with running("serve", "--kafka-sasl-password-file", "x", **given) as process:
        assert process.wait() == 2
        (line,) = process.lines
        assert line.startswith(f"takedown: {PASSWORD} and --kafka-sasl-password-file")
