"""The kinds of target, one module each: its config, its requests, one attempt to send."""
