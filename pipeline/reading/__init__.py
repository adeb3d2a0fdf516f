"""Reads the log, also when the server is dead."""
