"""Everything random in the process, from one seed.

Identities (`uuid4`, trace ids) come from the operating system's entropy, the jitter of a backoff
from `random`. Both are replaced at their source, for as long as a run lasts: whatever else draws
from them is covered, too.
"""

from __future__ import annotations

import contextlib
import os
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def seeded(seed: str) -> Iterator[None]:
    """Have `os.urandom`, and with it `uuid` and `secrets`, and `random` draw from this seed."""
    rng = random.Random(f"entropy {seed}")
    real, state = os.urandom, random.getstate()
    random.seed(f"random {seed}")
    os.urandom = rng.randbytes
    random._urandom = rng.randbytes  # type: ignore[attr-defined]
    try:
        yield
    finally:
        os.urandom = real
        random._urandom = real  # type: ignore[attr-defined]
        random.setstate(state)
