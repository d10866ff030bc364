"""What goes wrong with a database, told apart in one place.

The text of a driver may hold values (tokens among them), so it is logged only where it cannot, and never shown.
"""

import sqlite3

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from bellhop_server.domain.errors import BellhopError, ConcurrentChange, ServiceUnavailable

log = structlog.get_logger(__name__)

# Primary result codes (sqlite.org/rescode.html) that say: not now, or not on this disk.
_SQLITE_AWAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
}

# SQLSTATE classes and codes (PostgreSQL, appendix A): connection, authorisation, no such database, resources, operator,
# system; read-only; locked too long.
_POSTGRESQL_AWAY_CLASSES = ("08", "28", "3D", "53", "57", "58")
_POSTGRESQL_AWAY = ("25006", "55P03")
# Serialisation failure and deadlock: another attempt may well succeed.
_POSTGRESQL_CONCURRENT = ("40001", "40P01")


class DatabaseRefused(Exception):
    """The database cannot be used as it is. The text says why, and is meant for whoever runs the server."""


class StatementFailed(Exception):
    """A statement failed through a fault of ours. Names the statement and the driver's class of error, no values."""

    def __init__(self, error: DBAPIError) -> None:
        self.code = _sqlstate(error) or getattr(error.orig, "sqlite_errorname", "")
        super().__init__(f"{type(error.orig).__name__} {self.code} in: {error.statement}")


class Availability:
    """Turns errors of a driver into ours, and logs once when the database goes away and once when it is back.

    One for reading and one for writing: on a full disk the one goes on without the other.
    """

    def __init__(self, use: str) -> None:
        """`use`: what of the database, for the log."""
        self._use = use
        self._away = False

    def worked(self) -> None:
        """An operation reached the database."""
        if self._away:
            self._away = False
            log.info("the database is back", use=self._use)

    def translate(self, error: Exception) -> Exception:
        """What to raise for an error that came out of an operation."""
        if isinstance(error, BellhopError):
            return error
        if is_concurrent(error):
            return ConcurrentChange()
        if is_away(error):
            if not self._away:
                self._away = True
                log.warning("the database is away", use=self._use, error=f"{type(error).__name__}: {_text(error)}")
            return ServiceUnavailable("store")
        if isinstance(error, DBAPIError):
            return StatementFailed(error).with_traceback(error.__traceback__)
        return error


def is_away(error: Exception) -> bool:
    """Whether the database could not be reached, or could not write or lock just now."""
    if isinstance(error, OSError | PoolTimeoutError | DatabaseRefused):
        return True
    code = _sqlstate(error)
    if code:
        return code.startswith(_POSTGRESQL_AWAY_CLASSES) or code in _POSTGRESQL_AWAY
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_AWAY


def is_concurrent(error: Exception) -> bool:
    """Whether the transaction lost against another one."""
    return _sqlstate(error) in _POSTGRESQL_CONCURRENT


def _sqlstate(error: Exception) -> str:
    # asyncpg's own errors (while connecting) and SQLAlchemy's wrapper of them carry it in different places.
    source = error.orig if isinstance(error, DBAPIError) else error
    return getattr(source, "sqlstate", None) or ""


def _text(error: Exception) -> str:
    return str(error.orig if isinstance(error, DBAPIError) else error)
