"""From the ring to the disk."""
