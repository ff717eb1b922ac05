"""The Dockerfile and compose.yml, carried out without an engine: script/container-test."""
