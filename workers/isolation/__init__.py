"""How one bad object is found, whatever it does to its process: halve its batch, then try it alone."""
