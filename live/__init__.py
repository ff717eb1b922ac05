"""The domain: what a channel is and what can happen to it."""
