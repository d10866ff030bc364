"""Run by Alembic. The connection comes from `migrate.py`, which holds the transaction too."""

from alembic import context

from bellhop_server.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot alter most of a table in place.
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
