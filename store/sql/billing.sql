-- name: facts
-- The last billing statuses of a subscription, newest first.
select status, since, reason, happened_at
from billing_statuses
where tenant_id = %(tenant_id)s and subscription_id = %(subscription_id)s
order by since desc
limit %(limit)s

-- name: facts_of
-- The same of many subscriptions.
select s.tenant_id, b.status, b.since, b.reason, b.happened_at
from unnest(%(tenants)s::text[], %(subscriptions)s::text[]) as s (tenant_id, subscription_id)
cross join lateral (
  select status, since, reason, happened_at
  from billing_statuses q
  where q.tenant_id = s.tenant_id and q.subscription_id = s.subscription_id
  order by since desc
  limit %(limit)s
) b
order by s.tenant_id, b.since desc

-- name: add
-- A status from an instant on.
insert into billing_statuses (tenant_id, subscription_id, since, status, reason, happened_at)
values (%(tenant_id)s, %(subscription_id)s, %(since)s, %(status)s, %(reason)s, %(happened_at)s)

-- name: drop
-- A status that will not come, or that another takes the place of at its very instant.
delete from billing_statuses
where tenant_id = %(tenant_id)s and subscription_id = %(subscription_id)s and since = %(since)s
