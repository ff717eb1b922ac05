"""script/demo: one broadcast from the first call to the last webhook, seen as an App Server and a viewer see it."""
