-- name: insert
-- Reservations that are open; their ids are new, as the keys have found.
insert into reservations (tenant_id, digest, shard, reserve)
select * from unnest(%(tenants)s::text[], %(digests)s::uuid[], %(shards)s::smallint[], %(lines)s::bytea[])
on conflict do nothing;

-- name: close
-- The end of open ones.
update reservations r set state = e.state, ended_at = e.ended_at, settled = e.settled
from unnest(%(tenants)s::text[], %(digests)s::uuid[], %(states)s::text[], %(ended)s::timestamptz[], %(settled)s::bigint[])
  as e (tenant_id, digest, state, ended_at, settled)
where r.tenant_id = e.tenant_id and r.digest = e.digest;

-- name: find
-- A reservation of a shard, whoever's it is.
select tenant_id, state, ended_at, settled, reserve from reservations
where digest = %(digest)s and shard = %(shard)s;

-- name: open
-- What Redis must hold.
select reserve from reservations where shard = any(%(shards)s) and state = 'open';
