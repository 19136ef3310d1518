"""Store alert rules, follow-ups and digests, and decide in transactions when a rule fires."""
