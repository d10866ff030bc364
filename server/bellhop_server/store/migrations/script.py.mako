"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}

Nodes of the release before may still run while this is applied: add first, take away a release later. It runs on SQLite
and on PostgreSQL, each in one transaction.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies it."""
    ${upgrades if upgrades else "pass"}
