"""Documents, their passages, and a full-text index.

On SQLite triggers keep the index in step. On PostgreSQL who stores a passage stores its stems, too (`server.store.fulltext`), and both leave
together.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# An index without a copy of the text (https://sqlite.org/fts5.html#external_content_tables): it must be told the old values
# to forget them, which only triggers can promise.
_SQLITE = (
    """
    CREATE VIRTUAL TABLE passages_fts USING fts5(
        heading, text, content='passages', content_rowid='id', tokenize='porter unicode61'
    )
    """,
    """
    CREATE TRIGGER passages_inserted AFTER INSERT ON passages BEGIN
        INSERT INTO passages_fts(rowid, heading, text) VALUES (new.id, new.heading, new.text);
    END
    """,
    """
    CREATE TRIGGER passages_deleted AFTER DELETE ON passages BEGIN
        INSERT INTO passages_fts(passages_fts, rowid, heading, text)
        VALUES ('delete', old.id, old.heading, old.text);
    END
    """,
    """
    CREATE TRIGGER passages_updated AFTER UPDATE ON passages BEGIN
        INSERT INTO passages_fts(passages_fts, rowid, heading, text)
        VALUES ('delete', old.id, old.heading, old.text);
        INSERT INTO passages_fts(rowid, heading, text) VALUES (new.id, new.heading, new.text);
    END
    """,
)

_POSTGRESQL = (
    """
    CREATE TABLE passages_fts (
        id integer PRIMARY KEY REFERENCES passages (id) ON DELETE CASCADE,
        stems tsvector NOT NULL
    )
    """,
    "CREATE INDEX passages_fts_stems ON passages_fts USING gin (stems)",
)


def upgrade() -> None:
    """Make the tables and the index."""
    op.create_table(
        "documents",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("source", sa.String, nullable=False, unique=True),
        sa.Column("url", sa.String, nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("passages", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String(80), nullable=False),
        sa.Column("ingested_at", sa.String(24), nullable=False),
    )
    op.create_table(
        "passages",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "document_id", sa.String(16), sa.ForeignKey("documents.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("heading", sa.String, nullable=False),
        sa.Column("anchor", sa.String, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.UniqueConstraint("document_id", "position"),
    )
    for statement in _POSTGRESQL if op.get_context().dialect.name == "postgresql" else _SQLITE:
        op.execute(statement)


def downgrade() -> None:
    """Forget everything that was ingested."""
    op.execute("DROP TABLE passages_fts")
    op.drop_table("passages")
    op.drop_table("documents")
