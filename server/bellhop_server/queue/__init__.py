"""Wake-ups and announcements."""
