-- name: keep
-- A notice, once; no row for one that is known.
insert into payment_notices (ref, account, type, happened_at, received_at, via, things, version, caused_by)
values (%(ref)s, %(account)s, %(type)s, %(happened_at)s, %(now)s, %(via)s, %(things)s, %(version)s, %(caused_by)s)
on conflict do nothing returning ref;

-- name: want
-- Things are to be looked at, at once; in order of their ids, so that two who want the same never wait for each other.
insert into payment_objects (ref, kind, next_at)
select ref, kind, %(now)s from unnest(%(refs)s::text[], %(kinds)s::text[]) as t (ref, kind) order by ref
on conflict (ref) do update set wanted = payment_objects.wanted + 1,
  next_at = least(coalesce(payment_objects.next_at, excluded.next_at), excluded.next_at);

-- name: claim
-- Takes up to so many things that are to be looked at.
update payment_objects o set claimed = claimed + 1, lease_until = %(until)s
where o.ref in (
  select ref from payment_objects
  where next_at <= %(now)s and (lease_until is null or lease_until <= %(now)s)
  order by next_at, ref limit %(limit)s for update skip locked)
returning o.ref, o.kind, o.claimed, o.wanted, o.tries;

-- name: store_look
-- What a look has shown, and when, which is later than the look before; no row if a later one has been kept already.
update payment_objects
set body = %(body)s, tenant_id = coalesce(%(tenant_id)s, tenant_id), read = %(claimed)s, tries = 0, failed = '',
  read_at = greatest(%(now)s, read_at + interval '1 microsecond')
where ref = %(ref)s and read < %(claimed)s returning read_at;

-- name: looked
-- The look is over; what was asked for since it began is done next.
update payment_objects
set next_at = case when wanted > %(wanted)s then %(now)s::timestamptz end,
  lease_until = case when claimed = %(claimed)s then null else lease_until end
where ref = %(ref)s;

-- name: put_off
update payment_objects set next_at = %(next_at)s, lease_until = null, tries = tries + 1, failed = %(failed)s
where ref = %(ref)s;

-- name: asked_until
select asked_until from payment_accounts where account = %(account)s;

-- name: begin_asking
insert into payment_accounts (account, charges_since, asked_until) values (%(account)s, %(until)s, %(until)s)
on conflict (account) do update set asked_until = excluded.asked_until;

-- name: forget
delete from payment_notices where received_at < %(before)s;

-- name: looked_at
-- A thing as it was seen last.
select body::text from payment_objects where ref = %(ref)s;
