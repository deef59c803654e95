"""From what a person types to specs."""
