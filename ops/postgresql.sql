-- The database of compose.yml, made once by the postgres image. Its owner is no superuser, and so is nobody who
-- finds a way to speak SQL through the box.
\getenv password POSTGRES_PASSWORD
CREATE ROLE livestream LOGIN PASSWORD :'password';
CREATE DATABASE livestream OWNER livestream ENCODING 'UTF8' TEMPLATE template0;
-- The superuser had the same password. From now on it comes in from within its container only.
ALTER ROLE postgres PASSWORD NULL;
\connect livestream
CREATE EXTENSION pg_trgm;
