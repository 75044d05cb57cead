"""`python -m dev.simulation`: run many seeds, or look at one."""

from __future__ import annotations

import os
import sys
import time

import click

from dev.simulation.ablations import ABLATIONS, find
from dev.simulation.bounds import LARGE, SMALL
from dev.simulation.event_log import diagram
from dev.simulation.many import Summary, run_many
from dev.simulation.search import search
from dev.simulation.shrink import kind_of, shrink
from dev.simulation.world import Result, World

_TICK = 2.0
_SHOWN = 3
_ENOUGH = 1000
_IN_VAIN = 50
"""Seeds for a safeguard that has a second line behind it."""


@click.command(help="The whole service in a simulated world, from one seed each.")
@click.option("--seeds", type=int, help="how many; without it, as many as there is time for")
@click.option("--from", "first", type=int, help="the first one; without it, a fresh one")
@click.option("--seconds", type=float, help="how long, at most")
@click.option("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
@click.option("--replay", type=int, help="run this one seed, and show what happened")
@click.option("--keep", help="with --replay: only these faults and requests, comma-separated")
@click.option("--search", "states", is_flag=True, help="look at every state within bounds")
@click.option("--ablations", is_flag=True, help="take out one safeguard after the other")
@click.option("--all", "everything", is_flag=True, help="with --replay: show every line")
def main(
    seeds: int | None,
    first: int | None,
    seconds: float | None,
    jobs: int,
    replay: int | None,
    keep: str | None,
    states: bool,
    ablations: bool,
    everything: bool,
) -> None:
    """Exit status 1 if an invariant was broken."""
    if states:
        sys.exit(_search())
    if ablations:
        sys.exit(_ablate(seeds or _ENOUGH))
    if replay is not None:
        names = tuple(keep.split(",")) if keep is not None else None
        sys.exit(_replay(replay, names, everything=everything))
    if seeds is None and seconds is None:
        seeds = 1000
    if first is None:
        first = int(time.time()) * 100_000 % 2**53
    click.echo(f"seeds from {first}")
    summary = run_many(
        first=first, seeds=seeds, seconds=seconds, jobs=jobs, progress=_Progress().show
    )
    click.echo(summary.table())
    for failed in summary.failed[:_SHOWN]:
        _explain(failed)
    sys.exit(1 if summary.failed else 0)


class _Progress:
    def __init__(self) -> None:
        self._began = self._last = time.monotonic()

    def show(self, summary: Summary) -> None:
        now = time.monotonic()
        if now - self._last >= _TICK:
            self._last = now
            click.echo(
                f"{now - self._began:6.0f} s  {summary.seeds:,} seeds  "
                f"{summary.takedowns:,} takedowns  {len(summary.failed)} failed",
                err=True,
            )


def _explain(failed: Result) -> None:
    click.echo(f"\nSeed {failed.seed} breaks an invariant:\n  {failed.violations[0]}")
    small = shrink(failed)
    click.echo(f"It still does with {len(small.names)} of {len(failed.names)} faults and requests:")
    _replay(small.seed, small.names, everything=False)


def _replay(seed: int, keep: tuple[str, ...] | None, *, everything: bool) -> int:
    world = World(seed, keep=keep, keeps_journal=True)
    result = world.run()
    about = result.about or {asked.item_id[-4:] for asked in world.ledger.asked}
    click.echo(diagram(world.journal, () if everything else about))
    for violation in result.violations:
        click.echo(f"! {violation}")
    again = f" --keep {','.join(keep)}" if keep is not None else ""
    click.echo(f"Repeat it: python -m dev.simulation --replay {seed}{again}")
    click.echo(f"digest {result.digest}")
    return 1 if result.violations else 0


def _search() -> int:
    wrong = 0
    click.echo(f"{'within':<52}{'states':>10}{'steps':>12}{'deepest':>9}")
    for name, model in {**SMALL, **LARGE}.items():
        found = search(model())
        click.echo(f"{name:<52}{found.states:>10,}{found.steps:>12,}{found.deepest:>9}")
        if found.wrong:
            wrong += 1
            click.echo(f"! {found.wrong}")
            click.echo("\n".join(f"    {step}" for step in found.path))
    return 1 if wrong else 0


def _ablate(seeds: int) -> int:
    missed = 0
    for each in ABLATIONS:
        found = find(each, seeds=min(seeds, _ENOUGH) if not each.second else _IN_VAIN)
        if found is not None:
            words = kind_of(each.found(found))
            click.echo(f"| {each.name} | {found.seed + 1} | {words} |")
        else:
            missed += not each.second
            click.echo(f"| {each.name} | - | {each.second or 'NOT FOUND'} |")
    return 1 if missed else 0


if __name__ == "__main__":
    main()
