"""Conversations and their turns."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("visitor", sa.String(32), nullable=False, index=True),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("saved_at", sa.BigInteger),
    )
    op.create_table(
        "turns",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column(
            "conversation",
            sa.String(32),
            sa.ForeignKey("conversations.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("visitor", sa.String(32), nullable=False),
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("asked", sa.String(64), nullable=False),
        sa.Column("question", sa.String, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("answer", sa.String, nullable=False),
        sa.Column("sources", sa.String),
        sa.Column("metadata", sa.String),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("alive_until", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("visitor", "message_id"),
    )


def downgrade() -> None:
    """Forget what was asked and said."""
    for table in ("turns", "conversations"):
        op.drop_table(table)
