"""Decide when an alert rule fires."""
