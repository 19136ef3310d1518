"""Parse alert rules and decide when a rule fires."""
