"""What the responses were like: totals and rolling windows, of all workers."""
