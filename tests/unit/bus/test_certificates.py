"""When certificates are valid, read from what OpenSSL would not tell."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.kafka.certificates import Validity, file_problem, validity_of
from dev.apache_kafka.certificates import Authority

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("year", [2026, 2049, 2051, 2120])
def test_the_dates_are_those_that_were_signed(year: int, tmp_path: Path) -> None:
    ends = NOW.replace(year=year)
    identity = Authority(tmp_path).client("service", ends=ends)
    first = identity.certificate.read_text().split("-----END CERTIFICATE-----")[0]
    validity = validity_of(ssl.PEM_cert_to_DER_cert(f"{first}-----END CERTIFICATE-----\n"))
    assert validity == Validity(ends - timedelta(days=2), ends)


@pytest.mark.parametrize(
    ("begins", "ends", "problem"),
    [
        (-1, 1, None),
        (-2, -1, "expired at 2026-11-26T11:00:00Z"),
        (1, 2, "is not valid before 2026-11-26T13:00:00Z, and it is 2026-11-26T12:00:00Z here"),
    ],
)
def test_what_is_wrong_is_said_with_the_time(begins: int, ends: int, problem: str | None) -> None:
    validity = Validity(NOW + timedelta(hours=begins), NOW + timedelta(hours=ends))
    assert validity.problem(NOW) == problem


def test_the_file_is_read_when_it_is_asked_about(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    path = str(authority.client("service", ends=NOW).certificate)
    assert file_problem(path, NOW - timedelta(hours=1)) is None
    assert file_problem(path, NOW + timedelta(hours=1)) == "expired at 2026-11-26T12:00:00Z"
    authority.client("service", ends=NOW + timedelta(days=1))
    assert file_problem(path, NOW + timedelta(hours=1)) is None


def test_a_file_that_cannot_be_read_has_no_problem_of_this_kind(tmp_path: Path) -> None:
    assert file_problem(str(tmp_path / "missing"), NOW) is None
    junk = tmp_path / "junk"
    junk.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert file_problem(str(junk), NOW) is None


@given(st.binary(max_size=300))
def test_what_is_no_certificate_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="no certificate"):
        validity_of(data)
