-- name: on_plans
-- How many tenants are on each plan version at an instant.
select p.plan_id as id, p.plan_version as version, count(*) as tenants
from subscription_phases p join tenants t using (tenant_id)
where p.start_at <= %(at)s and (p.end_at is null or p.end_at > %(at)s) and t.closed_at is null
group by 1, 2 order by 1, 2;

-- name: with_addons
-- How many tenants hold each add-on version at an instant.
select a."addonId" as id, a."addonVersion" as version, count(*) as tenants
from subscription_phases p join tenants t using (tenant_id)
  cross join lateral jsonb_to_recordset(p.addons) as a ("addonId" text, "addonVersion" text)
where p.start_at <= %(at)s and (p.end_at is null or p.end_at > %(at)s) and t.closed_at is null
  and p.addons <> '[]'
group by 1, 2 order by 1, 2;

-- name: above
-- Who has used more than a number in the window that contains an instant, as far as the windows' names tell.
-- A window of a month or a year may have a name that outlives it: one that began too long ago to be sure is
-- given with its tenant, to be looked at. `each`: all are.
with bounds as (
  select * from unnest(%(places)s::int[], %(plans)s::text[], %(fields)s::text[], %(letters)s::text[], %(numbers)s::bigint[])
    as b (place, plan_id, field, letter, number)
), counted as (
  select c.tenant_id, c.time_window, c.field, c.used, split_part(c.time_window, '.', 1) as letter,
    to_timestamp(split_part(c.time_window, '.', 2)::bigint) as began,
    case split_part(c.field, ':', 2) when 'e' then split_part(c.field, ':', 1) || ':e' else c.field end as kind
  from usage_counters c
  where c.ends_at > %(at)s and c.field like '%%:%%' -- not the values of a unique meter
    and (%(only)s::text[] is null or c.tenant_id = any(%(only)s))
    -- Counters outlive their window where a rest of it is carried.
    and to_timestamp(split_part(c.time_window, '.', 2)::bigint) > %(at)s - case split_part(c.time_window, '.', 1)
      when 'h' then interval '1 hour' when 'd' then interval '1 day' when 'w' then interval '7 days'
      when 'm' then interval '31 days' when 'y' then interval '366 days' else interval '1000 years' end
), passed as (
  select b.place, c.tenant_id, s.anchored_at, c.time_window, c.began,
    c.letter not in ('m', 'y')
      or c.began > %(at)s - case c.letter when 'm' then interval '28 days' else interval '365 days' end as sure
  from counted c
    join bounds b on b.field = c.kind and b.letter = c.letter
    join subscription_phases p on p.tenant_id = c.tenant_id and p.plan_id = b.plan_id
      and p.start_at <= %(at)s and (p.end_at is null or p.end_at > %(at)s)
    join subscriptions s on s.tenant_id = p.tenant_id and s.subscription_id = p.subscription_id
    join tenants t on t.tenant_id = c.tenant_id and t.closed_at is null
  where c.began <= %(at)s
  group by b.place, b.number, c.tenant_id, s.anchored_at, c.time_window, c.letter, c.began,
    case when c.kind <> c.field then c.field end
  having sum(c.used) > b.number
)
select place, count(distinct tenant_id) as tenants,
  case when %(each)s or not sure then tenant_id end as tenant_id,
  case when not sure then anchored_at end as anchored_at,
  case when not sure then began end as began
from passed group by place, 3, 4, 5 order by place, 3;

-- name: first_of
-- The first tenants by name who have a plan or an add-on in one of these versions.
select t.tenant_id, t.name, h.version
from (
  select p.tenant_id, p.start_at, p.end_at, p.plan_version as version
  from subscription_phases p where p.plan_version = any(%(versions)s)
  union all
  select p.tenant_id, p.start_at, p.end_at, a."addonVersion"
  from subscription_phases p
    cross join lateral jsonb_to_recordset(p.addons) as a ("addonId" text, "addonVersion" text)
  where p.addons <> '[]' and a."addonVersion" = any(%(versions)s)
) h join tenants t using (tenant_id)
where h.start_at <= %(at)s and (h.end_at is null or h.end_at > %(at)s) and t.closed_at is null
order by t.name, t.tenant_id limit %(limit)s;
