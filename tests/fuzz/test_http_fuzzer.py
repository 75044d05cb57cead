"""The fuzzer of the HTTP servers, for FUZZ_SECONDS (5) with fresh seeds; it says which."""

from __future__ import annotations

import os
import secrets

import pytest
from fuzz.http_fuzzer import fuzz
from fuzz.http_streams import Generator

SECONDS = float(os.environ.get("FUZZ_SECONDS", "5"))


@pytest.mark.timeout(SECONDS + 100)
def test_no_bytes_harm_another_client_or_execute_what_was_not_requested() -> None:
    fuzz(SECONDS, secrets.randbelow(10**9) * 10**6)


def test_the_same_seed_makes_the_same_stream() -> None:
    for seed in range(50):
        assert Generator(seed).stream() == Generator(seed).stream()
