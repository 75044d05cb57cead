"""What sets the clock of one process: libfaketime."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_LIBRARY = "faketime/libfaketimeMT.so.1"
_FOLDERS = ("usr/lib/*", "usr/lib64", "usr/lib", "usr/local/lib")

MISSING = (
    "Only libfaketime can set a process's clock, and it was not found: install the package "
    "`faketime` (Debian, Ubuntu) or `libfaketime` (Fedora, Alpine, Arch)"
)


def faketime() -> str:
    """The path of the library; skips the test, or fails it where it must not be missing."""
    for folder in _FOLDERS:
        for path in Path("/").glob(f"{folder}/{_LIBRARY}"):
            return str(path)
    if os.environ.get("REQUIRE_FAKETIME") == "1":
        pytest.fail(MISSING)
    pytest.skip(MISSING)
