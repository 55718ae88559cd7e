"""The hub: what happens while a stream opens or reads is not lost on it, and what many ask for is read once."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import OperationalError, connections

from tests.webhooks.factories import happen
from webhooks import hub as hubs
from webhooks.hub import EVERYTHING, Hub, Page, Source, Watch
from webhooks.streams import Feed, Snapshots, version

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_S = 20.0


def play(scene: Callable[[Hub], Coroutine[Any, Any, None]]) -> None:
    """With a hub, in an event loop of its own, as in the web server."""

    async def in_time() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await scene(hub)
            # What it has cancelled ends before the loop does, which would cancel it once more.
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others)

    hub = Hub()
    try:
        asyncio.run(in_time())
    finally:
        # What was read, and the connection it was read by, end before the test's rows do.
        hub._reader.submit(connections.close_all).result()
        hub._reader.shutdown()


async def occur(subject: str = "sub_1") -> str:
    """As in another process: from a thread that leaves no connection behind. The id of the event."""
    return await asyncio.to_thread(_occur, subject)


def _occur(subject: str) -> str:
    try:
        return str(happen(subject).public_id)
    finally:
        connections.close_all()


async def told(hub: Hub, source: Source, watch: Watch, position: str) -> Page:
    """The next page that tells something."""
    while True:
        page = await hub.read(source, position)
        if page.frames:
            return page
        await watch.wait(PATIENCE_S)


def echo(subject: str) -> str:
    return subject


@dataclass(frozen=True)
class Scripted:
    """Reads what `script` makes of how many times it was read before."""

    script: Callable[[int], Page] = field(compare=False)
    subject: str = "sub_1"
    reads: list[str] = field(default_factory=list, compare=False)

    def since(self, position: str) -> Page:
        self.reads.append(position)
        return self.script(len(self.reads))


class TestHub:
    def test_finds_at_the_first_read_what_happened_while_the_stream_opened(self) -> None:
        async def scene(hub: Hub) -> None:
            with hub.watching("sub_1"):
                await occur()
                page = await hub.read(Snapshots("sub_1", echo), "")
            assert page == Page("1", b'id: 1\ndata: "sub_1"\n\n')

        play(scene)

    def test_wakes_a_stream_when_something_happens_to_its_subject(self) -> None:
        async def scene(hub: Hub) -> None:
            with hub.watching("sub_1") as watch:
                first = await hub.read(Snapshots("sub_1", echo), "")
                await occur()
                page = await told(hub, Snapshots("sub_1", echo), watch, first.position)
            assert (first.position, page.position) == ("0", "1")

        play(scene)

    def test_leaves_others_asleep(self) -> None:
        async def scene(hub: Hub) -> None:
            with hub.watching("sub_1") as watch, hub.watching("sub_2") as other:
                for subject in ("sub_1", "sub_2"):
                    await hub.read(Snapshots(subject, echo), "")
                # Looking rings nobody who is where the table is; the rings of before the first reading are over.
                await other.wait(0.01)
                await occur("sub_1")
                await told(hub, Snapshots("sub_1", echo), watch, "0")
                assert not other._rung.is_set()

        play(scene)

    def test_rings_for_a_stream_of_everything_too(self) -> None:
        async def scene(hub: Hub) -> None:
            with hub.watching(EVERYTHING) as watch:
                event_id = await occur("sub_7")
                page = await told(hub, Feed(), watch, "")
            assert page.position == event_id
            assert f'"id":"{event_id}"'.encode() in page.frames

        play(scene)

    def test_keeps_a_ring_that_comes_during_a_read(self) -> None:
        async def scene(hub: Hub) -> None:
            with hub.watching("sub_1") as watch:
                await watch.wait(0.01)
                await hub.read(Scripted(lambda _: Page("1")), "")
                hub._ring("sub_1")
                assert await watch.wait(PATIENCE_S)

        play(scene)

    def test_reads_once_for_all_who_ask_the_same(self) -> None:
        source = Scripted(lambda read: Page(str(read)))

        async def scene(hub: Hub) -> None:
            with hub.watching("sub_1"):
                pages = await asyncio.gather(*(hub.read(source, "0") for _ in range(50)))
                assert set(pages) == {Page("1")}
                hub._ring("sub_1")
                assert await hub.read(source, "0") == Page("2")

        play(scene)

    def test_reads_again_after_the_database_was_away(self) -> None:
        def script(read: int) -> Page:
            if read == 1:
                raise OperationalError("gone")
            return Page("1")

        source = Scripted(script)

        async def scene(hub: Hub) -> None:
            with hub.watching("sub_1"):
                with pytest.raises(OperationalError):
                    await hub.read(source, "0")
                assert await hub.read(source, "0") == Page("1")

        play(scene)

    def test_goes_on_listening_after_the_database_was_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        looks: list[Any] = []
        real = hubs._last_sequences

        def look(subjects: Any) -> dict[str, str]:
            looks.append(subjects)
            if len(looks) == 1:
                raise OperationalError("gone")
            return real(subjects)

        monkeypatch.setattr(hubs, "_last_sequences", look)
        monkeypatch.setattr(hubs, "RECONNECT_S", 0.01)

        async def scene(hub: Hub) -> None:
            with hub.watching("sub_1") as watch:
                while len(looks) < 2:
                    await watch.wait(0.01)
                first = await hub.read(Snapshots("sub_1", echo), "")
                await occur()
                assert await watch.wait(PATIENCE_S)
                page = await told(hub, Snapshots("sub_1", echo), watch, first.position)
            assert page.position == "1"

        play(scene)

    def test_listens_only_while_somebody_watches(self) -> None:
        async def scene(hub: Hub) -> None:
            with hub.watching("sub_1"), hub.watching("sub_1"):
                listening = hub._listening
                assert listening is not None
            await asyncio.wait([listening])
            assert hub._listening is None
            assert hub._topics == {}

        play(scene)

    def test_ends_every_wait_when_the_server_stops(self) -> None:
        async def scene(hub: Hub) -> None:
            with hub.watching("sub_1") as one, hub.watching("sub_2") as other:
                hub.close()
                assert await one.wait(PATIENCE_S)
                assert (one.is_closed, other.is_closed) == (True, True)

        play(scene)


class TestSources:
    def test_tell_a_snapshot_with_the_number_of_the_last_event(self) -> None:
        for _ in range(3):
            happen("sub_1")

        assert version("sub_1") == "3"
        assert Snapshots("sub_1", echo).since("2") == Page("3", b'id: 3\ndata: "sub_1"\n\n')
        assert Snapshots("sub_1", echo).since("3") == Page("3")

    def test_tell_of_the_feed_only_what_is_wished_and_go_on_after_the_rest(self) -> None:
        happen("sub_1")
        wished, last = happen("sub_2"), happen("sub_3")

        page = Feed(about="sub_2").since("")
        assert page.frames == f"id: {wished.public_id}\ndata: {wished.body}\n\n".encode()
        assert Feed(about="sub_2").since(wished.public_id) == Page(last.public_id)

    def test_tell_a_long_feed_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("webhooks.streams.EVENTS_AT_ONCE", 2)
        events = [happen() for _ in range(3)]

        first = Feed().since("")
        assert (first.position, first.is_full) == (events[1].public_id, True)
        assert Feed().since(first.position).position == events[2].public_id
