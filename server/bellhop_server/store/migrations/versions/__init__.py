"""One module for each step; added, never edited."""
