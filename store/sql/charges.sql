-- name: begin_account
-- Notes an account when it is first worked with.
insert into payment_accounts (account, charges_since) values (%(account)s, %(now)s) on conflict do nothing;

-- name: uncharged
-- Open invoices that were issued since the account is worked with, and are not charged yet; locked.
select i.tenant_id, i.invoice_id from invoices i join invoice_states s using (tenant_id, invoice_id)
where s.state = 'open' and i.total > 0
  and i.issued_at >= (select charges_since from payment_accounts where account = %(account)s)
  and not exists (select from charges c where c.tenant_id = i.tenant_id and c.invoice_id = i.invoice_id)
order by i.number limit %(limit)s for update of s skip locked;

-- name: add_payer
insert into payers (tenant_id) values (%(tenant_id)s) on conflict do nothing;

-- name: add_charge
insert into charges (tenant_id, invoice_id, currency, total, state, days, next_at)
values (%(tenant_id)s, %(invoice_id)s, %(currency)s, %(total)s, 'assembling', %(days)s, %(now)s);

-- name: add_operation
-- What is there already stays as it is.
insert into charge_operations (tenant_id, invoice_id, revision, place, step, subject, body)
values (%(tenant_id)s, %(invoice_id)s, %(revision)s, %(place)s, %(step)s, %(subject)s, %(body)s)
on conflict do nothing;

-- name: lease
-- Takes up to so many tenants who have something due and that nobody works on.
update payers p set holder = %(holder)s, lease_until = %(until)s
where p.tenant_id in (
  select q.tenant_id from payers q
  where (q.lease_until is null or q.lease_until <= %(now)s)
    and exists (select from charges c where c.tenant_id = q.tenant_id and c.next_at <= %(now)s)
  order by q.tenant_id limit %(limit)s for update skip locked)
returning p.tenant_id;

-- name: hold
-- Goes on holding a tenant; no row, if somebody else has taken over.
update payers set lease_until = %(until)s where tenant_id = %(tenant_id)s and holder = %(holder)s
returning tenant_id, customer_ref, woken_at;

-- name: let_go
update payers set holder = null, lease_until = null where tenant_id = %(tenant_id)s and holder = %(holder)s;

-- name: due
-- A tenant's charges that are due, the oldest first.
select invoice_id from charges where tenant_id = %(tenant_id)s and next_at <= %(now)s order by next_at, invoice_id;

-- name: charge
select tenant_id, invoice_id, currency, total, state, revision, days, invoice_ref, page_url, opened_at, next_at, tries,
  credited, reason
from charges where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s;

-- name: charge_by_ref
-- The charge behind an invoice of the provider.
select tenant_id, invoice_id, currency, total, state, revision, days, invoice_ref, page_url, opened_at, next_at, tries,
  credited, reason
from charges where invoice_ref = %(invoice_ref)s;

-- name: operations
-- Of a charge at its revision, and its tenant's customer first; in the order in which they are done.
select tenant_id, invoice_id, revision, place, step, subject, body::text as body, state, key_revision, first_sent_at, ref
from charge_operations
where tenant_id = %(tenant_id)s and (invoice_id, revision) in (('', 0), (%(invoice_id)s, %(revision)s))
order by invoice_id, place;

-- name: send
-- An operation is about to be sent: from now on it may have happened.
update charge_operations set state = 'sending', first_sent_at = coalesce(first_sent_at, %(now)s)
where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s and revision = %(revision)s and place = %(place)s;

-- name: finish
update charge_operations set state = %(state)s, ref = %(ref)s
where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s and revision = %(revision)s and place = %(place)s;

-- name: renew
-- What was sent is to be sent again as something new: the look has shown that it is not there.
update charge_operations set state = 'planned', key_revision = key_revision + 1, first_sent_at = null, ref = null
where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s and revision = %(revision)s and place = %(place)s;

-- name: know_customer
update payers set customer_ref = %(customer_ref)s where tenant_id = %(tenant_id)s;

-- name: write_charge
update charges
set state = %(state)s, revision = %(revision)s, invoice_ref = %(invoice_ref)s, page_url = %(page_url)s,
  opened_at = %(opened_at)s, next_at = %(next_at)s, tries = %(tries)s, credited = %(credited)s, reason = %(reason)s
where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s;

-- name: attempts
select tenant_id, invoice_id, attempt, state, due_at, at, code, reason
from payment_attempts where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s order by attempt;

-- name: write_attempt
insert into payment_attempts (tenant_id, invoice_id, attempt, state, due_at, at, code, reason)
values (%(tenant_id)s, %(invoice_id)s, %(attempt)s, %(state)s, %(due_at)s, %(at)s, %(code)s, %(reason)s)
on conflict (tenant_id, invoice_id, attempt) do update
set state = excluded.state, due_at = excluded.due_at, at = excluded.at, code = excluded.code, reason = excluded.reason;

-- name: wake
-- The customer has a new way to pay: what waits for one, or was given up, is tried at once; an attempt that is under way
-- learns of it by woken_at.
with payer as (
  update payers set woken_at = %(now)s where tenant_id = %(tenant_id)s returning tenant_id),
woken as (
  update charges c set state = 'open', next_at = %(now)s, tries = 0, reason = '' from payer p
  where c.tenant_id = p.tenant_id and c.state in ('waiting', 'exhausted') returning c.tenant_id, c.invoice_id),
last as (
  select w.tenant_id, w.invoice_id, max(a.attempt) as attempt, max(a.attempt) filter (where a.state = 'planned') as planned
  from woken w join payment_attempts a using (tenant_id, invoice_id) group by w.tenant_id, w.invoice_id)
insert into payment_attempts (tenant_id, invoice_id, attempt, due_at)
select tenant_id, invoice_id, coalesce(planned, attempt + 1), %(now)s from last
on conflict (tenant_id, invoice_id, attempt) do update set due_at = excluded.due_at;

-- name: tenant_of
-- Whose customer it is.
select tenant_id from payers where customer_ref = %(customer_ref)s;

-- name: know_invoice
update charges set invoice_ref = %(ref)s where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s;

-- name: repeat
-- All operations of a revision once more, for the next one.
insert into charge_operations (tenant_id, invoice_id, revision, place, step, subject, body)
select tenant_id, invoice_id, revision + 1, place, step, subject, body from charge_operations
where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s and revision = %(revision)s
on conflict do nothing;

-- name: lines
-- What an invoice of ours is to be charged for, line by line.
select line_no::text as line_id, amount, description, kind || ':' || coalesce(feature_id, version) as "group",
  start_at as starts_at, end_at as ends_at
from invoice_lines where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s order by line_no;

-- name: notice_settled
-- Somebody has said by hand what became of an invoice that is being collected, or lowered it: to be gone into at once.
update charges c set next_at = %(now)s from invoice_states s
where c.state in ('assembling', 'open', 'waiting', 'exhausted') and (c.next_at is null or c.next_at > %(now)s)
  and s.tenant_id = c.tenant_id and s.invoice_id = c.invoice_id
  and (s.state <> 'open' or (s.credited > c.credited and c.state <> 'assembling'));

-- name: credits
-- The credit notes of an invoice that lower what is to be paid.
select credit_note_id as credit_id, amount, reason from credit_notes
where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s and settles = 'due' order by number;

-- name: count_operations
-- Where the next one has its place.
select count(*) from charge_operations
where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s and revision = %(revision)s;

-- name: listed
-- Charges with the number of their invoice, the newest first; of one state, if that is given.
select c.tenant_id, c.invoice_id, i.number, c.currency, c.total, c.state, c.invoice_ref, c.next_at, c.reason
from charges c join invoices i using (tenant_id, invoice_id)
where (%(state)s::text is null or c.state = %(state)s) order by i.number desc limit %(limit)s;

-- name: lock_charge
-- A charge, held for a change.
select c.tenant_id, c.invoice_id, i.number, c.currency, c.total, c.state, c.invoice_ref, c.next_at, c.reason
from charges c join invoices i using (tenant_id, invoice_id) where c.invoice_id = %(invoice_id)s for update of c;

-- name: resume
-- A charge that was stopped goes on from where it was: it binds, or it is still being made.
update charges set state = case when opened_at is null then 'assembling' else 'open' end, next_at = %(now)s, tries = 0,
  reason = ''
where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s;

-- name: retry_rejected
-- What was rejected is ordered again under a new key.
update charge_operations set state = 'planned', key_revision = key_revision + 1, first_sent_at = null
where tenant_id = %(tenant_id)s and invoice_id = any(array['', %(invoice_id)s]) and state = 'rejected';

-- name: count_by_state
select state, count(*)::bigint as charges from charges group by state;
