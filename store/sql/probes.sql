-- name: one
-- Answers if anything does.
select 1;

-- name: migrations
-- The versions of the migrations that have run. Fails where the table is missing: nothing has.
select version from schema_migrations order by version
