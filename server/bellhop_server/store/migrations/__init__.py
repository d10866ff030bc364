"""How the tables became what they are. `migrate.py` runs it."""
