"""What a job is: spec, states, message, settings, errors and tables."""
