"""The chat: questions in, answers with their sources out, from the site's own documents.

`ingest` reads documents into the store (`readers`, `splitter`), `retrieval` finds the passages that bear on a question,
`extract` makes an answer of them or `generate` has a model write one, `service` is one answer of these, `turns` and `making` see that it
is made once, and `handlers` is the only part that knows HTTP.
"""
