"""Keep alert rules and follow-ups, and decide when a rule fires."""
