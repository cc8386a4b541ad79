-- name: insert
-- A batch; what a repeated attempt brings again is there already. The bodies go as they are: as the text of an
-- array each quote in them would be escaped.
insert into decisions (tenant_id, as_of, decision_id, feature_id, outcome, reason, weight, body)
select * from unnest(%(tenants)s::text[], %(instants)s::timestamptz[], %(ids)s::text[], %(features)s::text[],
  %(outcomes)s::text[], %(reasons)s::text[], %(weights)s::integer[], %(bodies)b::text[]::json[])
on conflict do nothing;

-- name: page
-- What was decided, newest first, before a cursor of instant and id.
select as_of, decision_id, body::text as body from decisions
where as_of >= %(start)s and as_of < %(end)s
  and (as_of, decision_id) < (%(before_at)s, %(before_id)s)
  and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s)
  and (%(feature_id)s::text is null or feature_id = %(feature_id)s)
  and (%(outcome)s::text is null or outcome = %(outcome)s)
  and (%(reason)s::text is null or reason = %(reason)s)
order by as_of desc, decision_id desc
limit %(limit)s;

-- name: get
-- One decision; of one tenant, if one is named.
select body::text from decisions
where decision_id = %(decision_id)s and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s)
limit 1;

-- name: count
-- How many are kept of a span of time.
select count(*) from decisions
where as_of >= %(start)s and as_of < %(end)s and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s);

-- name: silent
-- Open tenants that nothing is kept of in a span of time: how many, and the first of them.
select count(*) as tenants, coalesce((array_agg(tenant_id order by tenant_id))[:%(shown)s], '{}') as first
from tenants t
where closed_at is null and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s)
  and not exists (
    select from decisions d where d.tenant_id = t.tenant_id and d.as_of >= %(start)s and d.as_of < %(end)s
  );
