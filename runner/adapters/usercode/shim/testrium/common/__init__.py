"""See `utils`."""
