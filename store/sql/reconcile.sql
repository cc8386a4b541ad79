-- name: charges
-- Invoices that are being collected, and those issued since, with their lines as they were sent.
select c.tenant_id, c.invoice_id, c.currency, c.total, s.credited, c.state, s.state as invoice_state, c.invoice_ref, c.next_at,
  coalesce((
    select jsonb_object_agg(o.subject, (o.body ->> 'amount')::bigint) from charge_operations o
    where o.tenant_id = c.tenant_id and o.invoice_id = c.invoice_id and o.revision = c.revision and o.step = 'line'
      and o.state = 'done'
  ), '{}')::text as lines,
  array(
    select o.subject from charge_operations o
    where o.tenant_id = c.tenant_id and o.invoice_id = c.invoice_id and o.revision = c.revision and o.step = 'line'
      and o.state <> 'done'
  ) as planned,
  (
    select min(o.first_sent_at) from charge_operations o
    where o.tenant_id = c.tenant_id and o.invoice_id = c.invoice_id and o.revision = c.revision and o.state = 'sending'
  ) as sending_since
from charges c join invoice_states s using (tenant_id, invoice_id) join invoices i using (tenant_id, invoice_id)
where c.state not in ('paid', 'withdrawn') or i.issued_at >= %(since)s
order by c.tenant_id, c.invoice_id;

-- name: customers
select tenant_id, customer_ref from payers where customer_ref is not null order by tenant_id;

-- name: facts
-- What was seen last of each thing that only the provider has.
select distinct on (kind, subject) tenant_id, kind, subject, state, (body ->> 'endsAt')::timestamptz as ends_at
from payment_facts
where kind in ('dispute', 'refund', 'subscription', 'customer')
order by kind, subject, seen_at desc, fact_no desc;

-- name: stuck
-- Things that could not be looked at so many times in a row.
select kind, ref, coalesce(tenant_id, '') as tenant_id, failed from payment_objects
where next_at is not null and tries >= %(tries)s order by ref;

-- name: missed
-- Notices since an instant that did not come, and were found by asking long after; none from before we were told any.
select n.ref, n.type, n.happened_at from payment_notices n join payment_accounts a using (account)
where n.account = %(account)s and n.via = 'asked' and n.received_at >= %(since)s and n.happened_at > a.charges_since
  and n.received_at > n.happened_at + make_interval(secs => %(late_s)s)
order by n.happened_at, n.ref limit %(limit)s;

-- name: open_by_class
-- What two looks have found to differ, by class and currency; and since when.
select class as kind, coalesce(body ->> 'currency', '') as currency, count(*) as findings,
  coalesce(sum((body ->> 'money')::bigint), 0)::bigint as money, min(first_seen_at) as oldest
from reconcile_findings where state = 'open' group by 1, 2 order by 1, 2;

-- name: last_plan
-- When the last look was, by its scope.
select scope, max(made_at) as made_at from reconcile_plans group by scope order by scope;

-- name: credits
select credit_note_id from credit_notes where issued_at >= %(since)s;

-- name: named
-- Those of these invoices that there are.
select invoice_id from invoices where invoice_id = any(%(ids)s);

-- name: tenants_with_facts
-- Tenants of whom something became known since.
select distinct tenant_id from payment_facts where noted_at >= %(since)s order by tenant_id;

-- name: resume
-- A charge goes on at once, unless it is over or somebody stopped it.
update charges set next_at = %(now)s, tries = 0
where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s and state not in ('paid', 'withdrawn', 'stopped')
returning invoice_id;

-- name: findings
-- What is suspected or open, and what was until not long ago.
select state, looks, first_seen_at, last_seen_at, body::text from reconcile_findings
where state <> 'gone' or last_seen_at >= %(since)s order by tenant_id, finding_id;

-- name: keep
insert into reconcile_findings (tenant_id, finding_id, class, state, looks, first_seen_at, last_seen_at, body)
values (%(tenant_id)s, %(finding_id)s, %(class)s, %(state)s, %(looks)s, %(first_seen_at)s, %(last_seen_at)s, %(body)s::jsonb)
on conflict (tenant_id, finding_id) do update set state = excluded.state, looks = excluded.looks,
  first_seen_at = excluded.first_seen_at, last_seen_at = excluded.last_seen_at, body = excluded.body;

-- name: stands
-- Whether a finding is still open.
select state from reconcile_findings where tenant_id = %(tenant_id)s and finding_id = %(finding_id)s;

-- name: add_plan
insert into reconcile_plans (plan_id, made_at, scope, body) values (%(plan_id)s, %(made_at)s, %(scope)s, %(body)s::jsonb);

-- name: plan
select body::text from reconcile_plans where plan_id = %(plan_id)s;

-- name: plans
-- The newest first.
select body::text from reconcile_plans where plan_id < %(before)s order by plan_id desc limit %(limit)s;

-- name: hold_plan
-- Whoever applies a plan at the same time waits.
select plan_id from reconcile_plans where plan_id = %(plan_id)s for update;

-- name: done
select finding_id, state, at, told from reconcile_actions where plan_id = %(plan_id)s order by finding_id;

-- name: do
-- What came of an action. One that failed may be tried again.
insert into reconcile_actions (plan_id, finding_id, state, at, told)
values (%(plan_id)s, %(finding_id)s, %(state)s, %(at)s, %(told)s)
on conflict (plan_id, finding_id) do update set state = excluded.state, at = excluded.at, told = excluded.told
where reconcile_actions.state = 'failed';

-- name: take_turn
-- Takes the turn of a scope if it is due; until then nobody else does.
update reconcile_turns set next_at = %(until)s where scope = %(scope)s and next_at <= %(now)s returning scope;

-- name: next_turn
update reconcile_turns set next_at = %(next_at)s where scope = %(scope)s;
