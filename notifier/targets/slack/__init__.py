"""A Slack channel: its config, its messages, what Slack's refusals mean, one attempt to post."""
