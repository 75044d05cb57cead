"""The catalogue: read from `item_published` and stored here, or the Items service over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from app.catalogue_folder import acquire, folder_of
from app.composition.list_changes import ListChanges
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader
from catalogue.http.catalogue import HttpCatalogue
from catalogue.http.client import ItemsClient
from catalogue.store.lmdb_store import LmdbStore
from catalogue.view import CatalogueView

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from actors.item_censor.large_takedowns import LargeTakedowns
    from app.composition.tasks import Tasks
    from app.composition.topics import PreparedTopics
    from app.lifecycle import Lifecycle
    from app.settings import Settings
    from bus.event_bus import EventBus
    from bus.kafka.connection import Connection
    from bus.kafka.record_handler import OnSkip
    from catalogue.doubts import ItemDoubt
    from catalogue.store.store import Store

Explain: TypeAlias = "Callable[[str, str], str]"
"""From a topic and a client's last error to why Kafka cannot be used."""


class CatalogueParts(Protocol):
    """A catalogue with all that it needs."""

    @property
    def source(self) -> CatalogueView | HttpCatalogue:
        """What the censors ask."""

    @property
    def view(self) -> CatalogueView | None:
        """The view of `item_published`, if that topic is read."""

    @property
    def reader(self) -> TopicReader | None:
        """The reader of `item_published`, if that topic is read."""

    @property
    def over_http(self) -> HttpCatalogue | None:
        """The Items service, if it is asked instead."""

    def doubts(self, limit: int) -> tuple[str, int, Sequence[ItemDoubt]]:
        """The topic, how many of its items are in doubt, and the newest of them."""

    def why_not_ready(self, explain: Explain) -> str | None:
        """What is wrong, or None."""

    async def start_reading(self, lifecycle: Lifecycle, tasks: Tasks) -> None:
        """Start what fills the catalogue.

        Raises:
            SettingsError: its folder cannot be used.
        """

    def start_searching(self, lifecycle: Lifecycle, tasks: Tasks) -> None:
        """Start what answers the censors."""


def catalogue_of(
    settings: Settings,
    connection: Connection,
    topics: PreparedTopics,
    *,
    bus: EventBus,
    large: LargeTakedowns,
    on_skip: OnSkip,
    utc_now: Callable[[], datetime],
    store: Store | None,
) -> CatalogueParts:
    """The catalogue that the settings name; for the arguments see `TopicCatalogue`."""
    if settings.catalogue_url:
        return ItemsServiceCatalogue(settings, utc_now=utc_now)
    return TopicCatalogue(
        settings,
        connection,
        topics,
        bus=bus,
        large=large,
        on_skip=on_skip,
        utc_now=utc_now,
        store=store,
    )


class TopicCatalogue:
    """The catalogue that is read from `item_published`.

    Args:
        settings: every setting.
        connection: how Kafka is reached.
        topics: prepares the topic, and knows its retention.
        bus: delivers changed lists to the takedowns in flight.
        large: refuses items with too many containers for the memory that is left.
        on_skip: receives each record that is skipped.
        utc_now: the wall clock.
        store: where the catalogue is stored, instead of in the folder of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        topics: PreparedTopics,
        *,
        bus: EventBus,
        large: LargeTakedowns,
        on_skip: OnSkip,
        utc_now: Callable[[], datetime],
        store: Store | None,
    ) -> None:
        self._topic = settings.topic_item_published
        self._files: LmdbStore | None = None
        if store is None:
            store = self._files = LmdbStore(folder_of(settings), self._topic)
        changes = ListChanges(bus, lambda: self.view) if settings.follow_changes else None
        self.source = self.view = CatalogueView(
            store,
            topic=self._topic,
            on_change=changes.on_change if changes else None,
            on_doubt=changes.on_doubt if changes else None,
            on_gap=changes.on_gap if changes else None,
            on_rebuilt=changes.on_rebuilt if changes else None,
            waits_for_evidence=changes is None,
            may_be_empty=settings.allows_empty_catalogue,
            utc_now=utc_now,
            delete_retention=topics.checks.delete_retention,
            safeguards=topics.safeguards,
            wait_for_kafka=settings.wait_for_kafka,
            why_no_room=large.why_no_room,
        )
        self.reader = TopicReader(
            connection=connection,
            topic=self._topic,
            start=Start.BEGINNING,
            handle=self.view.apply,
            prepare=topics.prepare_catalogue,
            rewind=self.view.rewind,
            resume=self.view.resume,
            advance=self.view.advance,
            distrust=self.view.distrust,
            on_skip=on_skip,
            on_unreadable=self.view.unreadable,
            safeguards=topics.safeguards,
            consumer_factory=connection.clients.consumer,
        )
        self.view.attach(self.reader)
        self.over_http = None

    def doubts(self, limit: int) -> tuple[str, int, Sequence[ItemDoubt]]:
        """The topic, how many of its items are in doubt, and the newest of them."""
        return self._topic, *self.view.doubts(limit)

    def why_not_ready(self, explain: Explain) -> str | None:
        """What is wrong, or None."""
        if (problem := self.view.why_not_ready()) is not None:
            return problem
        if self.reader.caught_up:
            return None
        if (why := self.reader.why_behind()) is not None:
            return f"not caught up: {why}"
        return explain(
            self._topic, self.reader.last_error or "not caught up with item_published yet"
        )

    async def start_reading(self, lifecycle: Lifecycle, tasks: Tasks) -> None:
        """Lock the folder; then read the topic and write what was read.

        Raises:
            SettingsError: the folder cannot be used.
        """
        if self._files is not None:
            await acquire(self._files)
        lifecycle.started("close the catalogue", self.view.close, within=8)
        tasks.run("storing the catalogue", self.view.run(), within=2)
        tasks.run("reading item_published", self._read(), within=8)

    def start_searching(self, lifecycle: Lifecycle, tasks: Tasks) -> None:
        """Let the censors search."""
        lifecycle.started("end searches in the catalogue", self.view.stop, within=2)

    async def _read(self) -> None:
        await self.view.start()
        await self.reader.run()


class ItemsServiceCatalogue:
    """The Items service as the catalogue: it is asked over HTTP for each takedown.

    Args:
        settings: every setting.
        utc_now: the wall clock.
    """

    def __init__(self, settings: Settings, *, utc_now: Callable[[], datetime]) -> None:
        self._topic = settings.topic_item_published
        self.source = self.over_http = HttpCatalogue(
            ItemsClient(settings.catalogue_url),
            attempt_timeout=settings.catalogue_url_timeout,
            utc_now=utc_now,
        )
        self.view = None
        self.reader = None

    def doubts(self, limit: int) -> tuple[str, int, Sequence[ItemDoubt]]:
        """None: only a record of the topic can be in doubt."""
        return self._topic, 0, ()

    def why_not_ready(self, explain: Explain) -> str | None:
        """What is wrong, or None."""
        return self.over_http.why_not_ready()

    async def start_reading(self, lifecycle: Lifecycle, tasks: Tasks) -> None:
        """Nothing is read before it is asked for."""

    def start_searching(self, lifecycle: Lifecycle, tasks: Tasks) -> None:
        """Probe the Items service; the probes end before its connections are closed."""
        lifecycle.started("end searches in the catalogue", self.over_http.stop, within=2)
        tasks.run("watching the Items service", self.over_http.run(), within=1)
