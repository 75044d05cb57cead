"""Draw every state machine into docs/machines/."""

from pathlib import Path

from actors.fsm.diagram import page
from actors.item_censor.machine import ITEM_CENSOR

MACHINES = {"item-censor.md": ITEM_CENSOR}
FOLDER = Path(__file__).parents[1] / "docs" / "machines"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, machine in MACHINES.items():
        (FOLDER / name).write_text(page(machine))


if __name__ == "__main__":
    main()
