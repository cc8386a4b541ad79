-- name: existing
-- The partitions of the two tables that grow by month.
select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent in ('usage_events'::regclass, 'usage_keys'::regclass);

-- name: take_lock
-- Until the transaction ends, nobody else makes partitions.
select pg_advisory_xact_lock(%(lock)s);
