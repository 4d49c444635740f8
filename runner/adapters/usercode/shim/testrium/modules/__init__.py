"""See `events`."""
