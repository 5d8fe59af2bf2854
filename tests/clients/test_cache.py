"""PING of the real Valkey, and of what is none."""
