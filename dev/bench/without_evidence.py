"""The service as it would be if nobody looked at the end of the log before a 200.

    python -m dev.bench.without_evidence -m service serve

Not for use: its answers can be false. `dev.bench.evidence` measures what the look costs.
"""

from __future__ import annotations

import runpy
import sys
from typing import TYPE_CHECKING

from catalogue.proofs import Proofs, ProveTo, Tell
from domain.messages import CatalogueCaughtUp

if TYPE_CHECKING:
    from domain.messages import Takedown


def believe(_proofs: Proofs, _prove_to: ProveTo, takedown: Takedown, tell: Tell) -> None:
    """Report at once what was not shown."""
    tell(CatalogueCaughtUp(takedown.takedown_id))


def main() -> None:
    flag, module, *rest = sys.argv[1:]
    if flag != "-m":
        sys.exit("usage: python -m dev.bench.without_evidence -m MODULE [ARGUMENT ...]")
    sys.argv = [module, *rest]
    Proofs.follow = believe  # type: ignore[method-assign, assignment]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
