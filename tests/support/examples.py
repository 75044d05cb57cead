"""How many examples a property test has."""

from __future__ import annotations

from hypothesis import settings

FAST = "fast"
"""The profile of `make test-fast`."""

_SHARE = 10


def examples(count: int) -> int:
    """This many, or a tenth of them in the fast suite."""
    return max(1, count // _SHARE) if settings.get_current_profile_name() == FAST else count
