"""Statistics over rows: comparisons, curves, reproductions. No SQL, no printing."""
