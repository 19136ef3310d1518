"""Decide everything that needs no database: pure functions on frozen records, without I/O and without a clock."""
