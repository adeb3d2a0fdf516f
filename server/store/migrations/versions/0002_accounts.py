"""Accounts, the verifications that make them, and sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("email", sa.String(254), nullable=False, unique=True),
        sa.Column("tier", sa.Integer, nullable=False),
        sa.Column("consented_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "verifications",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("email", sa.String(254), nullable=False, index=True),
        sa.Column("page_url", sa.String(2048)),
        sa.Column("consented_at", sa.BigInteger),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("spent_at", sa.BigInteger),
    )
    op.create_table(
        "verification_tokens",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column(
            "verification",
            sa.String(32),
            sa.ForeignKey("verifications.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("family", sa.String(32), nullable=False, index=True),
        sa.Column("visitor", sa.String(32), nullable=False, index=True),
        sa.Column("account", sa.String(32), sa.ForeignKey("accounts.id", ondelete="CASCADE")),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("end_reason", sa.String(16)),
    )


def downgrade() -> None:
    """Forget everybody."""
    for table in ("sessions", "verification_tokens", "verifications", "accounts"):
        op.drop_table(table)
