"""What PostgreSQL's errors mean: which say "not now", and by which name the log knows them."""

import errno
import socket
import ssl

# Classes of SQLSTATE, and single ones (https://www.postgresql.org/docs/current/errcodes-appendix.html), that say "the database cannot
# be used now", not "this is a bug".
_UNAVAILABLE_CLASSES = frozenset(
    {
        "08",  # the connection
        "28",  # who we are
        "53",  # disk, memory, connections used up
        "57",  # shut down, starting up, out of time
        "58",  # the system below it
        "F0",  # its configuration
        "XX",  # damaged
    }
)
_UNAVAILABLE = frozenset(
    {
        "25006",  # a standby, which takes no writes
        "25P03",  # idle in a transaction for too long
        "3D000",  # there is no such database
        "40001",  # another transaction was quicker
        "40P01",  # a deadlock
        "42501",  # the role may not
        "55P03",  # a lock was not to be had in time
    }
)


class Unreachable(Exception):
    """No connection, or one that was lost. `status` is the SQLSTATE or the system's own name of what happened."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def status_of(error: BaseException) -> str | None:
    """The name of what is behind `error` if it says "not now"; None if it says anything else, such as a bug."""
    import asyncpg

    found = None
    seen: BaseException | None = error
    while seen is not None:
        # The innermost says most: a connection was lost because the server was shut down.
        if isinstance(seen, Unreachable):
            return seen.status
        if isinstance(seen, asyncpg.PostgresError):
            state = str(seen.sqlstate)
            found = state if state[:2] in _UNAVAILABLE_CLASSES or state in _UNAVAILABLE else None
        elif isinstance(seen, asyncpg.InterfaceError) and "closed" in str(seen):
            found = "CONNECTION_CLOSED"
        seen = getattr(seen, "orig", None) or seen.__cause__
    return found


def unreachable(error: Exception) -> Unreachable:
    """`error` by its name; of the driver's own only the one that it raises for a server which says good-bye while nobody listens."""
    if not isinstance(error, OSError):
        return Unreachable("CONNECTION_CLOSED", "the server closed the connection")
    if isinstance(error, socket.gaierror):
        return Unreachable("NAME_NOT_RESOLVED", str(error))
    if isinstance(error, ssl.SSLError):
        return Unreachable("TLS_FAILED", str(error))
    if isinstance(error, TimeoutError) and error.errno is None:
        return Unreachable("TIMEOUT", "no answer in time")
    return Unreachable(errno.errorcode.get(error.errno or 0, "CONNECTION_FAILED"), str(error))
