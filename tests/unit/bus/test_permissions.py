"""What is missing, and the command that grants it."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bus.kafka.permissions import (
    Need,
    Operation,
    grant,
    missing_operations,
    principal,
    refused_description,
)
from bus.kafka.security import Security, TokenFile

ALICE = Security(
    protocol="SASL_SSL",
    mechanism="PLAIN",
    username="alice",
    password="secret",  # noqa: S106 - of this test
)
READ = Need("items", (Operation.Read,))


def bits(*operations: Operation) -> int:
    return sum(1 << operation for operation in operations)


def with_certificate() -> Security:
    files: Any = SimpleNamespace(certificate="client.pem")
    return Security(protocol="SSL", files=files)


def test_who_we_are_follows_from_the_login_where_it_is_known() -> None:
    assert principal(ALICE) == "User:alice"
    assert principal(Security()) == "User:ANONYMOUS"
    assert principal(Security(protocol="SSL")) == "User:ANONYMOUS"
    assert principal(with_certificate()) == "User:PRINCIPAL"
    token = Security(mechanism="OAUTHBEARER", tokens=TokenFile(Path("token")))
    assert principal(token) == "User:PRINCIPAL"


def test_a_placeholder_is_explained() -> None:
    text = grant("kafka:9092", with_certificate(), "items", [Operation.Read])
    assert "PRINCIPAL stands for the name that the broker derives from our certificate" in text
    token = Security(mechanism="OAUTHBEARER", tokens=TokenFile(Path("token")))
    assert "from our token" in grant("kafka:9092", token, "items", [Operation.Read])


def test_a_user_name_cannot_end_the_command() -> None:
    user = "alice smith; rm -rf ~"
    security = Security(mechanism="PLAIN", username=user)
    command = grant("kafka:9092", security, "items", [Operation.Read]).split("`")[1]
    words = shlex.split(command)
    assert words[words.index("--allow-principal") + 1] == f"User:{user}"


def test_a_refused_description_needs_everything() -> None:
    text = refused_description("kafka:9092", ALICE, READ)
    command = (
        "`kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:alice "
        "--operation Describe --operation Read --operation DescribeConfigs --topic items`"
    )
    assert "User:alice may not describe items" in text
    assert command in text
    assert "unless a rule denies it" in text
    creates = Need("items", (Operation.Read,), creates=True)
    assert "--operation Create --operation Describe" in refused_description("a:1", ALICE, creates)


def test_what_is_not_reported_as_allowed_is_missing() -> None:
    text = missing_operations("kafka:9092", ALICE, READ, bits(Operation.Describe, Operation.Write))
    assert text is not None
    assert "User:alice may not Read on items: the broker reports that it allows" in text
    assert "Write, Describe" in text
    assert "--operation Read --topic items`" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    "reported",
    [
        bits(Operation.Describe, Operation.Read),
        -(2**31),  # the broker does not report them
        0,  # nor does this one: whoever may do nothing gets no description
        bits(Operation.Read),
    ],
)
def test_nothing_is_said_without_evidence(reported: int) -> None:
    assert missing_operations("kafka:9092", ALICE, READ, reported) is None
