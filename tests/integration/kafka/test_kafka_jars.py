from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev.apache_kafka import jars

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder on the path; no jars are there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(jars, "downloaded", lambda: False)
    jars.java_banner.cache_clear()
    yield tmp_path
    jars.java_banner.cache_clear()


def put(folder: Path, name: str, text: str) -> None:
    script = folder / name
    script.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
    script.chmod(0o755)


def test_a_missing_java_is_named(bin_folder: Path) -> None:
    put(bin_folder, "mvn", "")
    missing = jars.java_and_maven_missing()
    assert missing == "Apache Kafka needs Java 17 or newer, and no java was found"


def test_a_java_that_is_too_old_is_named(bin_folder: Path) -> None:
    put(bin_folder, "java", 'openjdk version "1.8.0_402"')
    missing = jars.java_and_maven_missing()
    assert missing == "Apache Kafka needs Java 17 or newer, and java is Java 8"


def test_a_missing_maven_is_named(bin_folder: Path) -> None:
    put(bin_folder, "java", 'openjdk version "21" 2023-09-19')
    missing = jars.java_and_maven_missing()
    assert missing == "Apache Kafka's jars are downloaded by Maven, and no mvn was found"


def test_maven_is_not_needed_once_the_jars_are_there(
    bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bin_folder, "java", 'openjdk version "17.0.15" 2025-04-15')
    monkeypatch.setattr(jars, "downloaded", lambda: True)
    assert jars.java_and_maven_missing() is None


def test_nothing_is_missing_with_both(bin_folder: Path) -> None:
    put(bin_folder, "java", 'openjdk version "17.0.15" 2025-04-15')
    put(bin_folder, "mvn", "")
    assert jars.java_and_maven_missing() is None
