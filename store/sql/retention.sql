-- name: epochs
-- Who had acknowledged something before has told it long ago.
delete from journal_epochs where certified_at < %(before)s;

-- name: rejected
delete from usage_rejected where rejected_at < %(before)s;

-- name: idempotency
delete from idempotency_keys where created_at < %(before)s;

-- name: reservations
delete from reservations where ended_at < %(before)s;

-- name: drift
delete from drift where gone_at < %(before)s;

-- name: reconcile_findings
delete from reconcile_findings where state = 'gone' and last_seen_at < %(before)s;

-- name: reconcile_plans
-- Plans by which nothing was done; the others stay.
delete from reconcile_plans p where made_at < %(before)s
  and not exists (select from reconcile_actions a where a.plan_id = p.plan_id);

-- name: counters
-- Sums of windows that no event may touch any more, and that are on an invoice.
delete from usage_counters
where ends_at < least(%(before)s, (
  select min(closed_until) from billing_accounts where look_at < 'infinity' and closed_until > '-infinity'
));
