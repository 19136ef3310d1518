"""Import and export contacts as CSV."""
