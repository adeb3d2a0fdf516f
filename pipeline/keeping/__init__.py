"""What becomes of closed segments."""
