"""What is refused of settings, and with which message."""

from __future__ import annotations

import pytest

from app.settings import load
from domain.errors import SettingsError


def variable(name: str) -> str:
    return "TAKEDOWN_" + name.upper()


def refusal(environment: dict[str, str], flags: dict[str, str | None] | None = None) -> str:
    with pytest.raises(SettingsError) as raised:
        load(environment, flags or {})
    message = str(raised.value)
    assert message
    assert "\n" not in message
    return message
