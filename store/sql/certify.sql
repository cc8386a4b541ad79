-- name: take_lock
-- One certifier at a time; the others wait and then find it done.
select pg_advisory_xact_lock(%(lock)s);

-- name: busiest_first
-- These shards and how many tenants each has; those first from which most events came.
select c.shard, (select count(*) from tenants t where t.shard = c.shard) as tenants
from flush_cursors c where c.shard = any(%(shards)s) order by c.events desc, c.shard;

-- name: counters
-- The sums of what was flushed, for the counters that an event or a decision of now may still touch: tenant by tenant,
-- since the index has them so, and by window, in parts of at most 500.
select t.tenant_id, w.time_window, w.fields, w.used,
  case when isfinite(w.ends_at) then extract(epoch from w.ends_at)::bigint else 0 end as ends
from tenants t cross join lateral (
  select p.time_window, array_agg(p.field) as fields, array_agg(p.used::text) as used, max(p.ends_at) as ends_at
  from (
    select c.time_window, c.field, c.used, c.ends_at,
      (row_number() over (partition by c.time_window order by c.field) - 1) / 500 as part
    from usage_counters c
    where c.tenant_id = t.tenant_id and c.ends_at > %(since)s
      and (c.ends_at > %(capped_since)s or c.field !~ '^[^:]+:(c$|e:)')
  ) p
  group by p.time_window, p.part
) w
where t.shard = any(%(shards)s);

-- name: versions
select tenant_id, snapshot_version from tenants where shard = any(%(shards)s);
