"""Put on the import path of units of a legacy folder. Nothing is in it but `testrium`, as far as units import it."""
