"""The `bellhop` command. It may import everything, and nothing imports it."""
