"""What goes wrong on purpose: read from a script, chosen for a request, played over its connection."""
