-- name: facts
-- The last billing statuses of a subscription, newest first.
select status, since, reason, happened_at
from billing_statuses
where tenant_id = %(tenant_id)s and subscription_id = %(subscription_id)s
order by since desc
limit %(limit)s

-- name: add
-- A status from an instant on.
insert into billing_statuses (tenant_id, subscription_id, since, status, reason, happened_at)
values (%(tenant_id)s, %(subscription_id)s, %(since)s, %(status)s, %(reason)s, %(happened_at)s)

-- name: drop
-- A status that will not come, or that another takes the place of at its very instant.
delete from billing_statuses
where tenant_id = %(tenant_id)s and subscription_id = %(subscription_id)s and since = %(since)s
