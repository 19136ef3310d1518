"""Make all decisions as pure functions on frozen records. Nothing here does I/O, reads a clock or imports a library."""
