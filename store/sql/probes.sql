-- name: one
-- Answers if anything does.
select 1;

-- name: migrations_kept
-- Whether any migration has ever run here.
select to_regclass('schema_migrations') is not null;

-- name: migrations
-- The versions of the migrations that have run.
select version from schema_migrations order by version;

-- name: settings
-- What the server says of these settings of its own.
select name, setting from pg_settings where name = any(%(names)s);

-- name: clock
-- The server's own instant.
select clock_timestamp();
