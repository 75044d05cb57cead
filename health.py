"""Readiness: what must hold before a takedown may begin, checked by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Check = Callable[[], str | None]
"""Says in words what is wrong, or None when all is well."""


@dataclass(frozen=True, slots=True)
class Health:
    """The result of every check.

    Attributes:
        checks: the name of each check, and what is wrong or None.
        missing_safeguards: the name of each safeguard that the brokers do not provide, and why.
            They do not keep the service from being ready.
    """

    checks: Mapping[str, str | None]
    missing_safeguards: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether nothing is wrong."""
        return all(problem is None for problem in self.checks.values())


class Readiness:
    """The checks of one service. None of them asks Kafka: they look at what is known.

    Args:
        missing_safeguards: tells what the brokers do not provide, by name.
    """

    def __init__(self, missing_safeguards: Callable[[], Mapping[str, str]] = dict) -> None:
        self._checks: dict[str, Check] = {}
        self._missing_safeguards = missing_safeguards
        self._draining = False
        self._refusing = False

    def add(self, name: str, check: Check) -> None:
        """Add a check."""
        self._checks[name] = check

    def drain(self) -> None:
        """Not ready from now on, so that load balancers send new callers to other instances.

        Takedowns may still begin until `refuse`.
        """
        self._draining = True

    def refuse(self) -> None:
        """Not ready, and no takedown may begin from now on."""
        self._draining = self._refusing = True

    def health(self) -> Health:
        """Look at everything."""
        checks = {name: check() for name, check in self._checks.items()}
        checks["running"] = "shutting down" if self._draining else None
        return Health(checks, self._missing_safeguards())

    def why_not(self) -> str | None:
        """What is wrong, in words, or None when takedowns may begin."""
        if self._refusing:
            return "shutting down"
        for name, check in self._checks.items():
            problem = check()
            if problem is not None:
                return f"{name}: {problem}"
        return None
