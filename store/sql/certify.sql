-- name: take_lock
-- One certifier at a time; the others wait and then find it done.
select pg_advisory_xact_lock(%(lock)s);

-- name: counters
-- The sums of what was flushed, for the counters that an event or a decision of now may still touch.
select c.tenant_id, c.time_window, c.field, c.used,
  case when isfinite(c.ends_at) then extract(epoch from c.ends_at)::bigint else 0 end as ends
from usage_counters c join tenants t using (tenant_id)
where t.shard = any(%(shards)s) and c.ends_at > %(since)s and (c.ends_at > %(capped_since)s or c.field !~ '^[^:]+:(c$|e:)');

-- name: versions
select tenant_id, snapshot_version from tenants where shard = any(%(shards)s);
