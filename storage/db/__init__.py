"""Open the database, run statements and transactions, define and migrate the tables."""
