"""The tables, as SQLAlchemy Core knows them.

The migrations make them; a test compares the two. Full text is not here: it belongs to one database (`fulltext`).
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

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

vectors = Table(
    "vectors",
    metadata,
    Column(
        "digest",
        String(64),
        primary_key=True,
        comment="hash of the model, the heading and the text, see `server.store.vectors`",
    ),
    Column("model", String, nullable=False, comment="what made it"),
    Column("vector", LargeBinary, nullable=False, comment="float32, little-endian, of length 1"),
)

passage_vectors = Table(
    "passage_vectors",
    metadata,
    Column(
        "passage_id",
        Integer,
        ForeignKey("passages.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    # No foreign key: one ingest may prune a vector that another is about to use again; the next embeds that passage anew.
    Column("digest", String(64), nullable=False, index=True, comment="of its vector"),
    Column("embedded_at", BigInteger, nullable=False, comment="milliseconds since 1970, UTC"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", String(32), primary_key=True, comment="random; the letter's Message-ID is made of it"),
    Column("kind", String(32), nullable=False, comment="what kind of letter, such as `verification`"),
    Column("to_email", String(320), nullable=False),
    Column("subject_id", String(64), nullable=False, comment="the ID of what it is about; never a token"),
    Column("request_id", String(64), comment="of the request that asked for it"),
    Column("created_at", Double, nullable=False, comment="seconds since the epoch, as all times here"),
    Column(
        "due_at", Double, nullable=False, comment="not before; of a letter being sent, when its lease ends"
    ),
    Column("attempts", Integer, nullable=False, comment="how many were begun"),
    Column("lease", String(32), comment="of who is sending it; null when nobody is"),
    Index("outbox_due", "due_at"),
)

# From here on a time is a BigInteger: milliseconds since 1970, UTC. A digest is 64 hex digits, see `server.accounts.tokens`.

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column(
        "email", String(254), nullable=False, unique=True, comment="normalised, see `server.mail.address`"
    ),
    Column("tier", Integer, nullable=False, comment="1, 2 or 3, see `server.accounts.visitor`"),
    Column("consented_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

verifications = Table(
    "verifications",
    metadata,
    Column("id", String(32), primary_key=True, comment="names it for who asked; opens nothing"),
    Column("email", String(254), nullable=False, index=True),
    Column("page_url", String(2048), comment="where the link leads back to, or null"),
    Column("consented_at", BigInteger, comment="null when nobody ever consented: then no letter is sent"),
    Column("requested_at", BigInteger, nullable=False),
    Column("spent_at", BigInteger, comment="null until somebody came with a token"),
)

verification_tokens = Table(
    "verification_tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column(
        "verification",
        String(32),
        ForeignKey("verifications.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
        comment="each attempt at its letter has a token of its own, and all of them hold",
    ),
    Column("expires_at", BigInteger, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(32), primary_key=True, comment="names it in the log; opens nothing"),
    Column("digest", String(64), nullable=False, unique=True),
    Column(
        "family", String(32), nullable=False, index=True, comment="the first of those it was refreshed from"
    ),
    Column("visitor", String(32), nullable=False, index=True, comment="the account, or an anonymous visitor"),
    Column("account", String(32), ForeignKey("accounts.id", ondelete="CASCADE"), comment="null: anonymous"),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("ended_at", BigInteger, comment="null while it holds"),
    Column("end_reason", String(16), comment="refreshed, logged_out, migrated, reused or signed_out"),
)

identities = Table(
    "identities",
    metadata,
    Column("provider", String(32), primary_key=True, comment="see `server.accounts.oauth.providers`"),
    Column("issuer", String(512), primary_key=True, comment="whose subjects they are"),
    Column("subject", String(255), primary_key=True, comment="who it is there, for good"),
    Column("account", String(32), ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("account", "provider", "issuer"),
)

sign_ins = Table(
    "sign_ins",
    metadata,
    Column("id", String(32), primary_key=True, comment="names it in the log; opens nothing"),
    Column("provider", String(32), nullable=False),
    Column(
        "state", String(64), nullable=False, unique=True, comment="digest of what the provider hands back"
    ),
    Column("flow", String(64), nullable=False, comment="digest of what the browser that began keeps"),
    Column("token", String(64), unique=True, comment="digest of what the page is given; null until then"),
    Column("code", String, comment="the provider's, sealed with that token; null before and after"),
    Column("page_url", String(2048), comment="where the browser goes back to, or null"),
    Column(
        "account",
        String(32),
        ForeignKey("accounts.id", ondelete="CASCADE"),
        comment="the one that the identity is to be added to, or null",
    ),
    Column("consented_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("answered_at", BigInteger, comment="null until the browser came back"),
    Column("spent_at", BigInteger, comment="null until somebody came with the token, or it failed"),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column(
        "visitor",
        String(32),
        nullable=False,
        index=True,
        comment="whose it is: an account, or an anonymous visitor",
    ),
    Column(
        "title", String, nullable=False, comment="the first question's beginning, or what its owner calls it"
    ),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False, index=True, comment="when its last turn began"),
    Column("saved_at", BigInteger, comment="null: forgotten some time after its last turn"),
)

turns = Table(
    "turns",
    metadata,
    Column("id", String(32), primary_key=True),
    Column(
        "conversation",
        String(32),
        ForeignKey("conversations.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("visitor", String(32), nullable=False, comment="as its conversation has it"),
    Column("message_id", String(64), nullable=False, comment="what the client calls the question, once"),
    Column("request_id", String(64), comment="of the request that asked first"),
    Column(
        "asked",
        String(64),
        nullable=False,
        comment="hash of the whole question: the same ID means the same question",
    ),
    Column("question", String, nullable=False),
    Column("state", String(8), nullable=False, comment="running, done or cut_off"),
    Column("answer", String, nullable=False, comment="what is known of it"),
    Column("sources", String, comment="JSON; null until they are known"),
    Column("metadata", String, comment="JSON; null until it is done"),
    Column("created_at", BigInteger, nullable=False),
    Column(
        "alive_until",
        BigInteger,
        nullable=False,
        comment="while it is running: when to take its maker for dead",
    ),
    UniqueConstraint("visitor", "message_id"),
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
