"""Put on the import path of units of an older folder. Nothing is in it but `testrium`, as far as units import it."""
