-- name: take_numbers
-- The first of so many numbers of a series that come next. Until the transaction ends nobody else takes one of it, and
-- if it is rolled back they are free again: so there is no gap.
update invoice_numbers set next_number = next_number + %(count)s where series = %(series)s
returning next_number - %(count)s;

-- name: copy_invoices
copy invoices (
  tenant_id, invoice_id, number, subscription_id, period_no, start_at, end_at, plan_id, plan_version, currency, total,
  issued_at, due_at, billed_to
) from stdin;

-- name: copy_lines
copy invoice_lines (
  tenant_id, invoice_id, line_no, kind, description, amount, version, feature_id, start_at, end_at, body
) from stdin;

-- name: copy_states
copy invoice_states (tenant_id, invoice_id, state, since, reason) from stdin;

-- name: copy_ledger
copy billing_ledger (tenant_id, currency, at, amount, kind, subject) from stdin;

-- name: balances
-- What these tenants owe beside their invoices, or have to their credit (below zero).
select tenant_id, currency, sum(amount)::bigint as amount from billing_ledger
where tenant_id = any(%(tenants)s) group by tenant_id, currency having sum(amount) <> 0 order by tenant_id, currency;

-- name: ledger
-- A tenant's entries, oldest first.
select entry_no, currency, at, amount, kind, subject from billing_ledger
where tenant_id = %(tenant_id)s order by entry_no;

-- name: carried_in
-- What an invoice took over of the ledger, to be put back where it is taken back.
select coalesce(sum(-amount), 0)::bigint from billing_ledger
where tenant_id = %(tenant_id)s and subject = %(invoice_id)s and kind = 'carried-in';

-- name: find
-- An invoice with what became of it; of one tenant alone, if that is given.
select i.tenant_id, i.invoice_id, i.number, i.subscription_id, i.period_no, i.start_at, i.end_at, i.plan_id,
  i.plan_version, i.currency, i.total, i.issued_at, i.due_at, i.billed_to, s.state, s.since, s.paid, s.credited,
  s.returned, s.overdue_at, s.reason, s.revision
from invoices i join invoice_states s using (tenant_id, invoice_id)
where i.invoice_id = %(invoice_id)s and (%(only)s::text is null or i.tenant_id = %(only)s);

-- name: lock
-- The state of an invoice, held for a change until the transaction ends.
select i.tenant_id, i.invoice_id, i.number, i.subscription_id, i.period_no, i.start_at, i.end_at, i.plan_id,
  i.plan_version, i.currency, i.total, i.issued_at, i.due_at, i.billed_to, s.state, s.since, s.paid, s.credited,
  s.returned, s.overdue_at, s.reason, s.revision
from invoices i join invoice_states s using (tenant_id, invoice_id)
where i.invoice_id = %(invoice_id)s and (%(only)s::text is null or i.tenant_id = %(only)s)
for update of s;

-- name: page
-- A tenant's invoices, the newest first.
select i.tenant_id, i.invoice_id, i.number, i.subscription_id, i.period_no, i.start_at, i.end_at, i.plan_id,
  i.plan_version, i.currency, i.total, i.issued_at, i.due_at, i.billed_to, s.state, s.since, s.paid, s.credited,
  s.returned, s.overdue_at, s.reason, s.revision
from invoices i join invoice_states s using (tenant_id, invoice_id)
where i.tenant_id = %(tenant_id)s and i.number < %(before)s
order by i.number desc limit %(limit)s;

-- name: lines
-- The lines of an invoice.
select body::text from invoice_lines
where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s order by line_no;

-- name: write_state
-- What became of a locked invoice.
update invoice_states
set state = %(state)s, since = %(since)s, paid = %(paid)s, credited = %(credited)s, returned = %(returned)s,
  reason = %(reason)s, revision = revision + 1
where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s
returning revision;

-- name: add_credit_note
insert into credit_notes (tenant_id, credit_note_id, number, invoice_id, amount, currency, settles, reason, issued_at)
values (%(tenant_id)s, %(credit_note_id)s, %(number)s, %(invoice_id)s, %(amount)s, %(currency)s, %(settles)s,
  %(reason)s, %(issued_at)s);

-- name: credit_notes
-- The credit notes of an invoice, oldest first.
select tenant_id, credit_note_id, number, invoice_id, amount, currency, settles, reason, issued_at
from credit_notes where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s order by number;

-- name: nearly_due
-- Open invoices that will be due by then, and of which nothing is known yet as a payment; and those whose day has passed
-- without its being told.
select s.tenant_id, s.invoice_id from invoice_states s join invoices i using (tenant_id, invoice_id)
where s.state = 'open' and s.overdue_at is null and i.due_at <= %(ahead)s
  and (i.due_at <= %(now)s or not exists (
    select from payment_facts f where f.tenant_id = s.tenant_id and f.kind = 'invoice' and f.subject = s.invoice_id
  ))
order by i.due_at limit %(limit)s;

-- name: note_overdue
-- Its being overdue is told to its subscription.
update invoice_states set overdue_at = %(at)s, revision = revision + 1
where tenant_id = %(tenant_id)s and invoice_id = %(invoice_id)s;
