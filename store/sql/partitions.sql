-- name: existing
-- The partitions of tables, by name.
select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = any(%(tables)s::text[]::regclass[]);

-- name: take_lock
-- Until the transaction ends, nobody else makes partitions.
select pg_advisory_xact_lock(%(lock)s);
