"""One claim from start to end: claim, train, record."""
