"""A machine without libfaketime is told so, as one without Java or Maven is."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import clock

ROOT = Path(__file__).parents[2]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_LIBRARY", "faketime/not-there.so.1")
    monkeypatch.delenv("REQUIRE_FAKETIME", raising=False)


@pytest.mark.usefixtures("without")
def test_without_libfaketime_a_test_is_skipped_and_names_the_package() -> None:
    with pytest.raises(pytest.skip.Exception, match="install the package `faketime`"):
        clock.faketime()


@pytest.mark.usefixtures("without")
def test_where_it_must_not_be_missing_the_test_fails_with_the_same_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUIRE_FAKETIME", "1")
    with pytest.raises(pytest.fail.Exception, match="install the package `faketime`"):
        clock.faketime()


def test_ci_and_make_test_kafka_require_it() -> None:
    assert "export REQUIRE_FAKETIME=1" in (ROOT / ".ci" / "run").read_text()
    recipe = (ROOT / "Makefile").read_text().split("\ntest-kafka:")[1].split("\n\n")[0]
    assert "REQUIRE_FAKETIME=1" in recipe
