"""Verify that a delivery comes from its source."""
