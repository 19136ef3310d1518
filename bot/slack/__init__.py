"""Everything between Slack and a handler: receive, check, look up, dispatch, answer, post."""
