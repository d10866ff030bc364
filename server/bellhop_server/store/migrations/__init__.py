"""How the tables became what they are. `migrate.py` runs it, each time in one transaction.

A new revision stands in `versions/`, with the next number, for SQLite and PostgreSQL at once. Nodes of the release
before may still run while it is applied: add first, take away a release later.
"""
