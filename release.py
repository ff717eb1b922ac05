"""The one place where the release's number stands."""

RELEASE = "0.1.0"
