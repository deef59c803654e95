"""What is read from the database: frozen rows, and who selects them."""
