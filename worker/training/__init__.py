"""The experiment in plain torch; it knows no queue and no database."""
