"""The tables, as SQLAlchemy Core knows them.

The migrations make them; a test compares the two. Full text is not here: it belongs to one database (`fulltext`).
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, String, Table, UniqueConstraint

metadata = MetaData()

documents = Table(
    "documents",
    metadata,
    Column(
        "id", String(16), primary_key=True, comment="hash of `source`: the same file is the same document"
    ),
    Column(
        "source", String, nullable=False, unique=True, comment="absolute path of the file it was read from"
    ),
    Column(
        "url", String, nullable=False, comment="where a reader finds it: relative to the site, or absolute"
    ),
    Column("title", String, nullable=False),
    Column("kind", String(16), nullable=False, comment="markdown, html, text or pdf"),
    Column("passages", Integer, nullable=False, comment="how many it was split into"),
    Column(
        "fingerprint", String(80), nullable=False, comment="hash of the bytes, and version of what read them"
    ),
    Column("ingested_at", String(24), nullable=False, comment="UTC, as in the log"),
)

passages = Table(
    "passages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("document_id", String(16), ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False, comment="0, 1, 2… within the document"),
    Column(
        "heading", String, nullable=False, comment="the document's title and the headings above the passage"
    ),
    Column(
        "anchor",
        String,
        nullable=False,
        comment="fragment of the address, such as `high-error-rate`, or empty",
    ),
    Column("text", String, nullable=False, comment="light Markdown: paragraphs, lists, fenced code"),
    UniqueConstraint("document_id", "position"),
)

llm_usage = Table(
    "llm_usage",
    metadata,
    Column(
        "scope", String(160), primary_key=True, comment="`day:2026-01-31` (UTC) or `conversation:` and its ID"
    ),
    Column("tokens", BigInteger, nullable=False, comment="how many a language model was paid for"),
    Column("updated_at", String(24), nullable=False, comment="UTC, as in the log"),
)
