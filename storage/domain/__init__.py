"""Decide: frozen records in, frozen records out, with no clock, no database and no library but Python's own."""
