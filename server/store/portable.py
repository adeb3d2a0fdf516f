"""What both databases can do and SQLAlchemy has under two names."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Table


def insert(database: str, table: "Table") -> Any:
    """An `INSERT` that takes `on_conflict_do_nothing`, for the kind of `database` that SQLAlchemy's dialect names."""
    if database == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as for_postgresql

        return for_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert as for_sqlite

    return for_sqlite(table)
