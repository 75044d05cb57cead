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
        self._plain: dict[str, str] = {}
        self._missing_safeguards = missing_safeguards
        self._draining = False
        self._refusing = False

    def add(self, name: str, check: Check, plain: str = "not as it should be") -> None:
        """Add a check.

        Args:
            name: of the check.
            check: says what is wrong, for operators: that can name servers, users and commands.
            plain: what callers are told instead.
        """
        self._checks[name] = check
        self._plain[name] = plain

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
        """What is wrong, for operators, or None when takedowns may begin."""
        found = self._first_problem()
        if found is None:
            return None
        name, problem = found
        return f"{name}: {problem}" if name else problem

    def why_not_plainly(self) -> str | None:
        """The same for callers: without the names of servers and users, and without commands."""
        found = self._first_problem()
        if found is None:
            return None
        name, problem = found
        return f"{name}: {self._plain[name]}" if name else problem

    def _first_problem(self) -> tuple[str, str] | None:
        if self._refusing:
            return "", "shutting down"
        for name, check in self._checks.items():
            problem = check()
            if problem is not None:
                return name, problem
        return None
