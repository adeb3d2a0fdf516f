"""The chat: questions in, answers with their sources out, from the site's own documents.

`ingest` reads documents into the store (`readers`, `splitter`), `retrieval` finds the passages that bear on a question,
`extract` makes an answer of them, `service` is one turn of these, and `handlers` is the only part that knows HTTP.
"""
