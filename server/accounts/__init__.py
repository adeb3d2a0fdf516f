"""People: who asks, whose mail address it is, and for how long a session holds."""
