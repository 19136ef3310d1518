"""Serve people: `/score` in Slack, and the command line."""
