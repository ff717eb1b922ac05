"""Media servers, packagers and the files they make. Knows nothing of the database."""
