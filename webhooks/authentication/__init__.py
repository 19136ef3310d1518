"""Authenticate deliveries: verify that a delivery comes from its source."""
