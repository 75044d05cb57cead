"""The same job with stock pykka: a thread for each request, and a ThreadingActor for each takedown.

What one gets who takes the words "actor for each takedown" at their word: an HTTP server that
gives each connection a thread, which starts an actor, asks it, and waits. aiokafka lives on a loop
in a thread of its own. No supervision, no metrics, no logs, as in the minimal bridge.

    python -m dev.bench.pykka_bridge --bootstrap 127.0.0.1:9092 --port 8080
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import threading
import uuid
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pykka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

TIMEOUT = 10.0


class Kafka:
    """Both ends of Kafka, on a loop in a thread."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.loop = asyncio.new_event_loop()
        self.items: dict[str, list[dict[str, str]]] = {}
        self.waiting: dict[str, set[pykka.ActorRef[Any]]] = {}
        self.lock = threading.Lock()

    async def start(self) -> None:
        kafka: dict[str, Any] = {"bootstrap_servers": self.options.bootstrap}
        self.producer = AIOKafkaProducer(**kafka, acks="all")
        kafka["fetch_max_wait_ms"] = self.options.fetch_max_wait_ms
        self.published = AIOKafkaConsumer(
            self.options.item_published, **kafka, auto_offset_reset="earliest"
        )
        self.deletions = AIOKafkaConsumer(
            self.options.item_deleted, **kafka, auto_offset_reset="latest"
        )
        for client in (self.producer, self.published, self.deletions):
            await client.start()
        partitions = self.published.assignment()
        for partition, end in (await self.published.end_offsets(partitions)).items():
            while await self.published.position(partition) < end:
                self.take_item(await self.published.getone(partition))
        for partition in self.deletions.assignment():
            await self.deletions.position(partition)
        self.reading = [
            asyncio.create_task(self.read_items()),
            asyncio.create_task(self.read_deletions()),
        ]

    async def read_items(self) -> None:
        async for record in self.published:
            self.take_item(record)

    def take_item(self, record: Any) -> None:
        if record.value is None:
            self.items.pop(record.key.decode(), None)
        else:
            value = json.loads(record.value)
            self.items[value["itemId"]] = value["containers"]

    async def read_deletions(self) -> None:
        async for record in self.deletions:
            value = json.loads(record.value)
            with self.lock:
                actors = tuple(self.waiting.get(value["itemId"], ()))
            for actor in actors:
                try:
                    actor.tell(value)
                except pykka.ActorDeadError:
                    continue

    def publish(self, value: dict[str, Any]) -> None:
        asyncio.run_coroutine_threadsafe(
            self.producer.send(
                self.options.item_reported,
                json.dumps(value).encode(),
                key=value["itemId"].encode(),
            ),
            self.loop,
        )

    async def stop(self) -> None:
        for task in self.reading:
            task.cancel()
        for client in (self.deletions, self.published, self.producer):
            await client.stop()


class Takedown(pykka.ThreadingActor):
    """Carries one takedown, and sets `answer` when it is done."""

    def __init__(self, kafka: Kafka, item_id: str, answer: pykka.Future[Any]) -> None:
        super().__init__()
        self.kafka, self.item_id, self.answer = kafka, item_id, answer
        self.containers = kafka.items[item_id]
        self.left = {container["containerId"] for container in self.containers}
        self.deleted: list[dict[str, str]] = []

    def on_start(self) -> None:
        with self.kafka.lock:
            self.kafka.waiting.setdefault(self.item_id, set()).add(self.actor_ref)
        now = datetime.now(UTC)
        takedown_id = str(uuid.uuid4())
        for container in self.containers:
            self.kafka.publish(
                {
                    "takedownId": takedown_id,
                    "itemId": self.item_id,
                    **container,
                    "reportedAt": now.isoformat(),
                    "deadline": (now + timedelta(seconds=TIMEOUT)).isoformat(),
                }
            )

    def on_stop(self) -> None:
        with self.kafka.lock:
            self.kafka.waiting[self.item_id].discard(self.actor_ref)
            if not self.kafka.waiting[self.item_id]:
                del self.kafka.waiting[self.item_id]

    def on_receive(self, message: dict[str, str]) -> None:
        if message["containerId"] in self.left:
            self.left.discard(message["containerId"])
            self.deleted.append({key: text for key, text in message.items() if key != "itemId"})
            if not self.left:
                self.answer.set(self.deleted)
                self.stop()


class Caller(BaseHTTPRequestHandler):
    """One connection, in a thread of its own."""

    protocol_version = "HTTP/1.1"
    kafka: Kafka

    def do_DELETE(self) -> None:
        item_id = self.path.removeprefix("/items/")
        if item_id not in self.kafka.items:
            self.answer(404, {"title": "No such item"})
            return
        future: pykka.Future[Any] = pykka.ThreadingFuture()
        actor = Takedown.start(self.kafka, item_id, future)
        try:
            deleted = future.get(timeout=TIMEOUT)
        except pykka.Timeout:
            actor.stop(block=False)
            self.answer(504, {"title": "Time is up"})
            return
        self.answer(200, {"itemId": item_id, "outcome": "deleted", "containers": deleted})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.pykka_bridge")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--item-published", default="item_published")
    parser.add_argument("--item-reported", default="item_reported")
    parser.add_argument("--item-deleted", default="item_deleted")
    parser.add_argument("--fetch-max-wait-ms", type=int, default=500)
    options = parser.parse_args()
    kafka = Kafka(options)
    threading.Thread(target=kafka.loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(kafka.start(), kafka.loop).result()
    Caller.kafka = kafka
    server = Server(("127.0.0.1", options.port), Caller)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: threading.Thread(target=server.shutdown).start())
    print("ready", flush=True)
    server.serve_forever()
    asyncio.run_coroutine_threadsafe(kafka.stop(), kafka.loop).result(timeout=10)


if __name__ == "__main__":
    main()
