"""Open the database, run transactions, define and migrate its tables."""
