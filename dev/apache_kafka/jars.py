"""What it takes to run a broker: Java, and Kafka's jars, which Maven downloads once."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from domain.errors import BrokerStartError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".kafka"
"""Everything that is downloaded or written at run time; git ignores it."""

LIBS = HOME / "libs"
_POM = Path(__file__).with_name("pom.xml")
_STAMP = LIBS / "pom.sha256"
_LOCK = HOME / "lock"

_OLDEST_JAVA = 17
_JAVA_ANSWERS_WITHIN = 20.0
_DOWNLOAD_TIMEOUT = 600.0


def java_and_maven_missing() -> str | None:
    """Why brokers cannot run here, in one line; None if they can.

    Maven is needed only as long as the jars are not there.
    """
    version = _java_version()
    if version is None:
        return f"Apache Kafka needs Java {_OLDEST_JAVA} or newer, and no java was found"
    if version < _OLDEST_JAVA:
        return f"Apache Kafka needs Java {_OLDEST_JAVA} or newer, and {java()} is Java {version}"
    if not downloaded() and shutil.which("mvn") is None:
        return "Apache Kafka's jars are downloaded by Maven, and no mvn was found"
    return None


def java() -> str:
    """The `java` that `JAVA_HOME` names, else the one on the path."""
    home = os.environ.get("JAVA_HOME")
    if home and (java_of_home := Path(home, "bin", "java")).exists():
        return str(java_of_home)
    return "java"


def downloaded() -> bool:
    """Whether the jars that the pom names are there."""
    with contextlib.suppress(OSError):
        return _STAMP.read_text() == _digest_of_pom()
    return False


def download() -> None:
    """Download the jars if they are not there yet; several processes may ask at once.

    Raises:
        BrokerStartError: Java or Maven is missing, or Maven failed.
    """
    with locked():
        if downloaded():
            return
        if (missing := java_and_maven_missing()) is not None:
            raise BrokerStartError(missing)
        # Never half a folder: a download that is cut short leaves nothing that looks finished.
        unfinished = HOME / "libs.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [
            *("mvn", "-q", "-B", "-f", str(_POM)),
            *("dependency:copy-dependencies", f"-DoutputDirectory={unfinished}"),
        ]
        try:
            done = subprocess.run(  # noqa: S603 - our own
                command,
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=_DOWNLOAD_TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise BrokerStartError("Maven did not finish downloading Apache Kafka") from None
        if done.returncode != 0:
            raise BrokerStartError(f"Maven cannot download Apache Kafka: {_reason(done.stdout)}")
        shutil.rmtree(LIBS, ignore_errors=True)
        unfinished.rename(LIBS)
        _STAMP.write_text(_digest_of_pom())


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Only one process at a time prepares the folder."""
    HOME.mkdir(parents=True, exist_ok=True)
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def class_archive() -> Path:
    """Where the classes that a broker loads are kept ready-made for this Java and these jars."""
    key = hashlib.sha256(f"{java_banner()}{_digest_of_pom()}{LIBS}".encode()).hexdigest()
    return HOME / f"classes-{key[:12]}.jsa"


def _digest_of_pom() -> str:
    return hashlib.sha256(_POM.read_bytes()).hexdigest()


def _java_version() -> int | None:
    # "17.0.15" is 17; until 8 it was "1.8.0_402".
    match = re.search(r'version "(?:1\.)?(\d+)', java_banner())
    return int(match[1]) if match else None


@functools.cache  # a process of its own, and asked for at every start
def java_banner() -> str:
    """What `java -version` says; empty if it cannot be run."""
    try:
        done = subprocess.run(  # noqa: S603 - our own
            [java(), "-version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_JAVA_ANSWERS_WITHIN,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stderr


def _reason(output: str) -> str:
    plain = re.sub(r"\x1b\[\d*m", "", output)
    errors = [line for line in plain.splitlines() if line.startswith("[ERROR]")]
    return errors[0].removeprefix("[ERROR]").strip() if errors else "no reason given"
