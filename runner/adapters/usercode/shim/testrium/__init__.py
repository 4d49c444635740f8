"""The names that units of a legacy folder import, on top of `probe`. The package of that name is not needed."""
