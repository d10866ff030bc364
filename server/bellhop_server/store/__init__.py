"""The only truth, in SQLite or PostgreSQL."""
