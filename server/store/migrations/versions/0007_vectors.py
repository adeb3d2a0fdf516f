"""What passages mean, as vectors, and which passage has which."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "vectors",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "passage_vectors",
        sa.Column(
            "passage_id",
            sa.Integer,
            sa.ForeignKey("passages.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("digest", sa.String(64), nullable=False, index=True),
        sa.Column("embedded_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Forget what passages mean; their texts stay."""
    for table in ("passage_vectors", "vectors"):
        op.drop_table(table)
