"""Monitor: clips, remembers the norms, writes them down, and says what went wrong."""
