"""What a broker does not provide, although an answer's truth would profit from it.

Some safeguards need a broker of a certain version, or a permission: leader epochs, topic ids, the
settings of a topic. Where one cannot be had, nothing is guessed: it is logged once and listed in
`/readyz`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger("takedown.kafka")


class Safeguards:
    """The safeguards of one service that are missing now."""

    def __init__(self) -> None:
        self._missing: dict[str, str] = {}

    def missing(self, name: str, why: str) -> None:
        """Note that a safeguard cannot be had; logged once for each name and reason.

        Args:
            name: the safeguard, with its topic, such as `item_published: leader epochs`.
            why: what is in its way, and what it would protect from.
        """
        if self._missing.get(name) != why:
            self._missing[name] = why
            logger.warning("Safeguard missing: %s (%s)", name, why)

    def present(self, name: str) -> None:
        """Note that a safeguard is there (again)."""
        if self._missing.pop(name, None) is not None:
            logger.info("Safeguard back: %s", name)

    def list(self) -> Mapping[str, str]:
        """Those that are missing, by name, and why."""
        return dict(self._missing)
