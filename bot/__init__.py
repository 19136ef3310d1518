"""The interface for people: `/score` in Slack, and the command line."""
