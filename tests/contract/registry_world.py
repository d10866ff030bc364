"""A registry that tests drive step by step, from outside any loop."""

import asyncio
import itertools

from hypothesis import HealthCheck, settings

from bellhop_server.domain.application import Application, Policy
from bellhop_server.domain.errors import BellhopError
from bellhop_server.domain.registration import RegistryAnswer, RegistryCommand
from bellhop_server.store.database import Database, open_database
from bellhop_server.store.registry_group import apply_group
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from tests.contract.registry_observer import Seen, look

BOUNDED = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class World:
    """A database and a loop to use it from, for as many applications as there are examples."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.database: Database = runner.run(open_database(url))
        self.store: SqlStore = runner.run(self._open())
        self._numbers = itertools.count(1)

    async def _open(self) -> SqlStore:
        return SqlStore(self.database, MasterKey(bytes(32)))

    def new_application(self) -> str:
        app_id = f"app-{next(self._numbers)}"
        self._runner.run(self.store.create_application(Application(app_id, "", Policy(), 1, 1), []))
        return app_id

    def execute(self, command: RegistryCommand) -> RegistryAnswer | BellhopError:
        try:
            return self._runner.run(self.store.execute(command))
        except BellhopError as error:
            return error

    def apply(self, commands: list[RegistryCommand]) -> list[RegistryAnswer | BellhopError]:
        return self._runner.run(self.database.write(lambda connection: apply_group(connection, commands)))

    def look(self, app_id: str) -> Seen:
        return self._runner.run(self.database.read(lambda connection: look(connection, app_id)))

    def sweep(self, now: int) -> None:
        self._runner.run(self.store.sweep(now, 1_000))

    def ended(self, now: int) -> list[tuple[str, str]]:
        return self._runner.run(self.store.ended_bindings(now, 1_000))

    def close(self) -> None:
        self._runner.run(self.store.aclose())
        self._runner.run(self.database.aclose())
