"""The first tables.

Revision ID: 0001
Revises:
"""

from alembic import op

from bellhop_server.store.tables import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies it."""
    metadata.create_all(op.get_bind())
