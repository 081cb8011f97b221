"""How a local cluster starts: its keys, and what its processes leave alone."""
