"""Alembic's entry: bring the connection that `server.store.migrate` hands over to the wanted revision.

All steps of one upgrade are one transaction, begun by the caller, so a killed upgrade leaves the database as it was.
"""

from alembic import context

from server.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite's table changes can be undone; Alembic does not assume it.
    transactional_ddl=True,
)
context.run_migrations()
