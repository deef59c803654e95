"""What a person touches: commands, use-cases, reads, comparison and reports."""
