"""Conversations: what was asked and answered, as its owner sees it."""
