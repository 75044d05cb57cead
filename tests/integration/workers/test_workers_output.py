"""Several processes write to one pipe, and no line has anything of another one in it."""

from __future__ import annotations

import asyncio
import json
import select
import sys

from support.processes import ROOT

PROCESSES = 4
LINES = 300

WRITER = """
import asyncio, logging, sys
sys.path.insert(0, sys.argv[1])
from app.logs import configure
from app.workers.stdout import share_output
number = int(sys.argv[2])
configure(level="info", json=True)
share_output(number)
logger = logging.getLogger("takedown.test")
async def log():
    for line in range(int(sys.argv[3])):
        size = (line * 37 % 100) ** 2 * 3
        logger.info("line", extra={"line": line, "text": chr(97 + number) * size})
        if line % 5 == 0:  # lines of one turn of the loop are written together
            await asyncio.sleep(0)
asyncio.run(log())
sys.stdin.read()  # at the end of a process, what is not read within a second is given up
"""


async def test_lines_of_any_length_stay_whole_though_the_reader_is_slow() -> None:
    # The first one's pipe is given to the others, as a supervisor gives its own to its workers.
    script = f"""
import subprocess, sys
children = [
    subprocess.Popen([sys.executable, "-c", {WRITER!r}, {str(ROOT)!r}, str(n), "{LINES}"])
    for n in range({PROCESSES})
]
sys.exit(sum(child.wait() for child in children))
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    await asyncio.sleep(1.5)  # the pipe is full, and all of them have more for it
    seen: dict[int, list[int]] = {number: [] for number in range(PROCESSES)}
    async for raw in process.stdout:
        assert len(raw) <= select.PIPE_BUF
        line = json.loads(raw)
        seen[line["worker"]].append(line["line"])
        assert set(line["text"]) - set(" [...] 0123456789 characters left out") <= {
            chr(97 + line["worker"])
        }
        if sum(map(len, seen.values())) == PROCESSES * LINES:
            process.stdin.close()
    assert await process.wait() == 0
    assert seen == {number: list(range(LINES)) for number in range(PROCESSES)}
