"""The event log: everything that happened, one JSON object a line, written beside the work and never in its way.

`log` and `context` are what a program calls; `eventlog` opens and closes the machinery; `reader`, `trace` and `tail` need
only the files. This package never imports `server` and no web framework.
"""
