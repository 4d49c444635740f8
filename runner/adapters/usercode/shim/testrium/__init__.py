"""The names that units of an older folder import, on top of `probe`. The package of that name is not needed."""
