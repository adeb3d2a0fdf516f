"""Tokens that language models were paid for, by day and by conversation."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "llm_usage",
        sa.Column("scope", sa.String(160), primary_key=True),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.String(24), nullable=False),
    )


def downgrade() -> None:
    """Forget what was counted."""
    op.drop_table("llm_usage")
