"""Draw what people see, as Block Kit; https://docs.slack.dev/reference/block-kit."""
