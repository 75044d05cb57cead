"""What a test measures for `docs/reliability.md`."""

from __future__ import annotations

from collections.abc import Callable

MEASURED = "measured"
"""Under this name a test's report carries what it measured."""

Measure = Callable[[str, object], None]
"""Takes down a figure by its name; numbers with a fraction are seconds."""
