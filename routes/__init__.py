"""One blueprint per resource. A view is parse, one domain call, dump."""
