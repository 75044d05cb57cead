"""`python -m dev.apache_kafka`: brokers in the foreground, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from dev.apache_kafka import jars
from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.prepare import prepare
from domain.errors import BrokerStartError


def main() -> int:
    """Run what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.apache_kafka",
        description="A real Apache Kafka for development. Its data stays in .kafka/data-*.",
    )
    parser.add_argument("--port", type=int, default=9092, help="the first broker's (9092)")
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3), help="1 or 3 (1)")
    parser.add_argument("--prepare", action="store_true", help="only download what is needed")
    arguments = parser.parse_args()
    if (missing := jars.java_and_maven_missing()) is not None:
        sys.stderr.write(f"{missing}\n")
        return 1
    try:
        if arguments.prepare:
            asyncio.run(prepare())
        else:
            asyncio.run(_serve(arguments.port, arguments.brokers))
    except BrokerStartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _serve(port: int, brokers: int) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    await prepare()
    folder = jars.HOME / f"data-{brokers}"
    async with ApacheKafka(brokers=brokers, port=port, folder=folder) as kafka:
        sys.stdout.write(f"{kafka.bootstrap_servers}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
