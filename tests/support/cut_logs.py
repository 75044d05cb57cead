"""A topic in memory whose log is cut below what was read, and grows past it."""

from __future__ import annotations

import logging

import pytest

from support.log import FakeTopic

EVERYTHING = [*[f"old {n}" for n in range(5)], *[f"new {n}" for n in range(40)], "other"]
"""What is in it afterwards, of all partitions."""


def ten_read() -> FakeTopic:
    topic = FakeTopic(partitions=2)
    topic.append(*[f"old {n}" for n in range(10)])
    topic.append("other", partition=1)
    return topic


def cut_and_grown(topic: FakeTopic, *, new_epoch: bool = True, to: int = 5) -> None:
    topic.truncate(to, new_epoch=new_epoch)
    topic.append(*[f"new {n}" for n in range(40)])


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.ERROR]
