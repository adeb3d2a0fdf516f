"""Who somebody is at an identity provider, and the sign-ins that are under way there."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "identities",
        sa.Column("provider", sa.String(32), primary_key=True),
        sa.Column("issuer", sa.String(512), primary_key=True),
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column("account", sa.String(32), sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("account", "provider", "issuer"),
    )
    op.create_table(
        "sign_ins",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("state", sa.String(64), nullable=False, unique=True),
        sa.Column("flow", sa.String(64), nullable=False),
        sa.Column("token", sa.String(64), unique=True),
        sa.Column("code", sa.String),
        sa.Column("page_url", sa.String(2048)),
        sa.Column("account", sa.String(32), sa.ForeignKey("accounts.id", ondelete="CASCADE")),
        sa.Column("consented_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("answered_at", sa.BigInteger),
        sa.Column("spent_at", sa.BigInteger),
    )


def downgrade() -> None:
    """Forget who is who elsewhere."""
    for table in ("sign_ins", "identities"):
        op.drop_table(table)
