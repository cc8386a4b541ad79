-- name: latest
-- The subscription that was made last: the live one, if there is one.
select subscription_id, anchored_at, created_at, trial_ends_at, revision
from subscriptions
where tenant_id = %(tenant_id)s
order by created_at desc, subscription_id desc
limit 1

-- name: latest_of
-- The same of many tenants.
select distinct on (tenant_id) tenant_id, subscription_id, anchored_at, created_at, trial_ends_at, revision
from subscriptions
where tenant_id = any(%(tenants)s)
order by tenant_id, created_at desc, subscription_id desc

-- name: phases_of
-- The last phases of each of these subscriptions, newest first.
select s.tenant_id, p.plan_id, p.plan_version, p.start, p."end", p.addons
from unnest(%(tenants)s::text[], %(subscriptions)s::text[]) as s (tenant_id, subscription_id)
cross join lateral (
  select plan_id, plan_version, start_at as start, end_at as "end", addons
  from subscription_phases q
  where q.tenant_id = s.tenant_id and q.subscription_id = s.subscription_id
  order by start_at desc
  limit %(limit)s
) p
order by s.tenant_id, p.start desc

-- name: phases
-- The last phases of a subscription, newest first.
select plan_id, plan_version, start_at as start, end_at as "end", addons
from subscription_phases
where tenant_id = %(tenant_id)s and subscription_id = %(subscription_id)s
order by start_at desc
limit %(limit)s

-- name: covered_until
-- The latest end of all phases that the tenant ever had; null if none has one.
select max(end_at) from subscription_phases where tenant_id = %(tenant_id)s

-- name: add
-- A new subscription, its phases apart.
insert into subscriptions
  (tenant_id, subscription_id, anchored_at, created_at, trial_ends_at)
values
  (%(tenant_id)s, %(subscription_id)s, %(anchored_at)s, %(created_at)s, %(trial_ends_at)s)

-- name: open_account
-- From now on its periods are closed and billed.
insert into billing_accounts (tenant_id, subscription_id, billed_from, closed_until)
values (%(tenant_id)s, %(subscription_id)s, %(start)s, %(start)s)

-- name: touch
-- Its next revision, after a change of its phases or its billing status. Its billing period may end sooner by that.
with woken as (
  update billing_accounts set look_at = '-infinity'
  where tenant_id = %(tenant_id)s and subscription_id = %(subscription_id)s
)
update subscriptions set revision = revision + 1
where tenant_id = %(tenant_id)s and subscription_id = %(subscription_id)s
returning revision

-- name: add_phase
-- A phase that begins or ends anew.
insert into subscription_phases (tenant_id, subscription_id, start_at, end_at, plan_id, plan_version, addons)
values (%(tenant_id)s, %(subscription_id)s, %(start)s, %(end)s, %(plan_id)s, %(plan_version)s, %(addons)s::jsonb)

-- name: drop_phase
-- A phase that is replaced, or that will not happen.
delete from subscription_phases
where tenant_id = %(tenant_id)s and subscription_id = %(subscription_id)s and start_at = %(start)s
