"""Media servers, what they write, and what is made of it: playlists, pictures. Knows nothing of the database."""
