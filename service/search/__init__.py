"""Chooses what to run next by the results so far."""
