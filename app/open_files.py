"""How many files the process may open, and how many of them its clients may use."""

from __future__ import annotations

import contextlib
import logging
import resource
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings import Settings

logger = logging.getLogger("takedown")

_OPEN_FILES = 65_536
_FILES_OF_OURS = 192
"""Files reserved for everything but callers, where the system allows enough of them."""

_FILES_WHEN_IDLE = 32
"""What a service uses that no client is connected to: 27, with one broker."""

_ADMIN_CONNECTIONS = 256


def allow_many_files() -> int:
    """Each client that waits is an open socket: allow as many as the system gives; returns that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def within(settings: Settings, files: int) -> Settings:
    """Reserve files for Kafka, the catalogue and the admin API, however many clients connect.

    Otherwise clients that only connect use the last one, and then neither Kafka nor `/livez` can be
    reached.
    """
    most = max(files // 4, files - _FILES_OF_OURS)
    if files == resource.RLIM_INFINITY or settings.workers > 1:  # each worker does it for itself
        return settings
    if settings.http_max_connections > most:
        logger.warning(
            "Only %d files may be open (ulimit -n), so %d client connections are accepted "
            "instead of %d (TAKEDOWN_HTTP_MAX_CONNECTIONS)",
            files,
            most,
            settings.http_max_connections,
        )
        settings = replace(settings, http_max_connections=most)
    return settings


def admin_connections(callers: int) -> int:
    """Connections at the admin API: half of the files that so many callers and we ourselves leave.

    The rest is for more brokers, and for connections that are closed as soon as they are accepted.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return _ADMIN_CONNECTIONS
    return max(4, min(_ADMIN_CONNECTIONS, (files - callers - _FILES_WHEN_IDLE) // 2))
