"""Commands in groups, on both databases."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, select

from bellhop_server.domain.errors import BellhopError, Overloaded, SecretNotFound, ServiceUnavailable
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.database import Database
from bellhop_server.store.failures import StatementFailed
from bellhop_server.store.group_writer import GroupWriter, Outcomes
from bellhop_server.store.tables import counters
from tests.contract.backstage import Backstage


class Recorder:
    """Inserts names, notes the groups in which they came, and refuses those that begin with `no`."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []

    def apply(self, connection: Connection, commands: list[str]) -> list[str | BellhopError]:
        self.groups.append(list(commands))
        taken = [(name, 1) for name in commands if not name.startswith("no")]
        insert_many(connection, counters, ("name", "value"), taken)
        return [SecretNotFound(name) if name.startswith("no") else f"wrote {name}" for name in commands]


class Writing:
    """`database.write` that says when the first group is under way: what comes from then on is for the next one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.begun = asyncio.Event()

    async def __call__(self, fn: Callable[[Connection], Outcomes[str]]) -> Outcomes[str]:
        self.begun.set()
        return await self._database.write(fn)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def writing(database: Database) -> Writing:
    return Writing(database)


async def submitted(writer: GroupWriter[str, str], *names: str) -> list[asyncio.Task[str]]:
    """Tasks that wait for their answers: a new task takes its first step before whoever yields goes on."""
    tasks = [asyncio.create_task(writer.submit(name)) for name in names]
    await asyncio.sleep(0)
    return tasks


def written(connection: Connection) -> set[str]:
    return set(connection.execute(select(counters.c.name)).scalars())


async def test_commands_that_come_together_share_one_commit(
    database: Database, recorder: Recorder, commits: list[Connection]
) -> None:
    writer = GroupWriter(database.write, recorder.apply)
    names = [f"n{number:03}" for number in range(300)]
    before = len(commits)
    answers = await asyncio.gather(*(writer.submit(name) for name in names))

    assert answers == [f"wrote {name}" for name in names]
    assert recorder.groups == [names]
    assert len(commits) - before == 1
    assert await database.read(written) == set(names)


async def test_next_group_is_what_came_in_meanwhile(writing: Writing, recorder: Recorder, backstage: Backstage) -> None:
    writer = GroupWriter(writing, recorder.apply, group_limit=3)
    with backstage.blocked():
        [first] = await submitted(writer, "a")
        await writing.begun.wait()
        rest = await submitted(writer, *"bcdef")
        assert not first.done()
    await asyncio.gather(first, *rest)

    assert recorder.groups == [["a"], ["b", "c", "d"], ["e", "f"]]


async def test_each_gets_its_own_answer_or_error(database: Database, recorder: Recorder) -> None:
    writer = GroupWriter(database.write, recorder.apply)
    outcomes = await asyncio.gather(*(writer.submit(name) for name in ("a", "no-b", "c")), return_exceptions=True)

    assert outcomes[0::2] == ["wrote a", "wrote c"]
    assert isinstance(outcomes[1], SecretNotFound)
    assert outcomes[1].metadata == {"secret_id": "no-b"}
    assert await database.read(written) == {"a", "c"}


async def test_one_bad_member_does_not_sink_the_group(database: Database, recorder: Recorder) -> None:
    writer = GroupWriter(database.write, recorder.apply)
    await writer.submit("taken")
    outcomes = await asyncio.gather(*(writer.submit(name) for name in ("a", "taken", "b")), return_exceptions=True)

    assert outcomes[0::2] == ["wrote a", "wrote b"]
    assert isinstance(outcomes[1], StatementFailed)
    assert await database.read(written) == {"taken", "a", "b"}


async def test_member_whose_caller_has_gone_is_dropped(
    database: Database, writing: Writing, recorder: Recorder, backstage: Backstage
) -> None:
    writer = GroupWriter(writing, recorder.apply)
    with backstage.blocked():
        [first] = await submitted(writer, "a")
        await writing.begun.wait()
        gone, kept = await submitted(writer, "gone", "kept")
        gone.cancel()
    await asyncio.gather(first, kept)

    assert await database.read(written) == {"a", "kept"}


async def test_caller_that_goes_while_its_group_is_written_harms_nobody(
    database: Database, writing: Writing, recorder: Recorder, backstage: Backstage
) -> None:
    writer = GroupWriter(writing, recorder.apply)
    with backstage.blocked():
        gone, kept = await submitted(writer, "a", "b")
        await writing.begun.wait()
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    await kept
    await writer.submit("c")

    assert await database.read(written) == {"a", "b", "c"}


@pytest.mark.promise("P3")
async def test_what_is_committed_is_told_though_the_caller_has_gone(
    database: Database, writing: Writing, recorder: Recorder, backstage: Backstage
) -> None:
    writer = GroupWriter(writing, recorder.apply)
    heard: list[tuple[str, set[str]]] = []

    def hear(answer: str) -> None:
        heard.append((answer, {name for (name,) in backstage.execute("SELECT name FROM counters")}))

    with backstage.blocked():
        gone = asyncio.create_task(writer.submit("gone", hear))
        refused = asyncio.create_task(writer.submit("no", hear))
        await asyncio.sleep(0)
        await writing.begun.wait()
        dropped = asyncio.create_task(writer.submit("dropped", hear))
        await asyncio.sleep(0)
        for task in (gone, refused, dropped):
            task.cancel()
        await asyncio.gather(gone, refused, dropped, return_exceptions=True)
        assert heard == []
    await writer.submit("last", hear)

    told = [(answer, {"gone", "last"} & there) for answer, there in heard]
    assert told == [("wrote gone", {"gone"}), ("wrote last", {"gone", "last"})]


async def test_more_than_can_wait_is_refused(database: Database, recorder: Recorder) -> None:
    writer = GroupWriter(database.write, recorder.apply, waiting_limit=5)
    outcomes = await asyncio.gather(*(writer.submit(f"n{number}") for number in range(8)), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [str] * 5 + [Overloaded] * 3
    assert await writer.submit("later") == "wrote later"


async def test_outage_is_told_to_all_and_over_when_it_is_over(
    database: Database, recorder: Recorder, backstage: Backstage
) -> None:
    writer = GroupWriter(database.write, recorder.apply)
    await writer.submit("a")
    groups = len(recorder.groups)
    with backstage.gone():
        outcomes = await asyncio.gather(*(writer.submit(f"n{number}") for number in range(50)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ServiceUnavailable}
        # Nobody was tried alone.
        assert all(len(group) == 50 for group in recorder.groups[groups:])
    assert await writer.submit("b") == "wrote b"
    assert await database.read(written) == {"a", "b"}


async def test_answers_that_do_not_match_the_commands_keep_nothing(database: Database) -> None:
    def forget(connection: Connection, commands: list[str]) -> list[str | BellhopError]:
        insert_many(connection, counters, ("name", "value"), [(name, 1) for name in commands])
        return []

    writer = GroupWriter(database.write, forget)
    outcomes = await asyncio.gather(writer.submit("a"), writer.submit("b"), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [RuntimeError, RuntimeError]
    assert await database.read(written) == set()


async def test_questions_can_be_grouped_as_well(database: Database, recorder: Recorder) -> None:
    await GroupWriter(database.write, recorder.apply).submit("a")
    statements = 0

    def look(connection: Connection, commands: list[str]) -> list[bool | BellhopError]:
        nonlocal statements
        statements += 1
        found = written(connection)
        return [name in found for name in commands]

    reader = GroupWriter(database.read, look)
    assert list(await asyncio.gather(reader.submit("a"), reader.submit("b"))) == [True, False]
    assert statements == 1


async def test_closing_finishes_what_was_taken_and_takes_no_more(database: Database, recorder: Recorder) -> None:
    writer = GroupWriter(database.write, recorder.apply)
    [taken] = await submitted(writer, "a")
    await writer.aclose()

    assert await taken == "wrote a"
    with pytest.raises(ServiceUnavailable):
        await writer.submit("b")
    await writer.aclose()
