"""The commands' flags are those that the README promises."""

from __future__ import annotations

import re
from pathlib import Path

from app.commands import DEMO, ITEMS, KAFKA, SERVICE, STANDALONE
from app.setting_table import SETTINGS
from service import COMMANDS

README = Path(__file__).parents[3] / "README.md"
LOGS = {"log_format", "log_level"}
"""Flags of every command."""


def test_serve_has_a_flag_for_each_setting_that_the_service_reads() -> None:
    others = {*ITEMS, *DEMO, "broker_port"}
    assert {*KAFKA, *SERVICE, *LOGS} == set(SETTINGS) - others


def test_every_setting_is_a_flag_of_some_command() -> None:
    named = {name for command in (*COMMANDS, *STANDALONE) for name in command.settings}
    assert named | LOGS == set(SETTINGS)


def test_serve_has_a_flag_for_each_variable_of_the_readme() -> None:
    (serve,) = (command for command in COMMANDS if command.name == "serve")
    flags = {SETTINGS[name].variable for name in (*serve.settings, *LOGS)}
    written = set(re.findall(r"^\| `(TAKEDOWN_\w+)`", README.read_text(), re.MULTILINE))
    secrets = {SETTINGS[name].in_file.variable for name in serve.settings if SETTINGS[name].secret}
    assert written
    assert written <= flags | secrets
