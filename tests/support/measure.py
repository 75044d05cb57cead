"""What a test measures for `docs/reliability.md`."""

from __future__ import annotations

from collections.abc import Callable

Measure = Callable[[str, object], None]
"""Takes down a figure by its name; numbers with a fraction are seconds."""
