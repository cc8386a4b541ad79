-- Periods of subscriptions are closed, and invoices issued for them.
-- Subscriptions that are there already are billed from the first run of the job `close` on.
-- migrate:up
-- How far each subscription is billed. Everything before closed_until is on an invoice; usage that comes later for a time
-- before it is an adjustment.
create table billing_accounts (
  tenant_id        text not null,
  subscription_id  text not null,
  billed_from      timestamptz not null,           -- days before are not charged
  closed_until     timestamptz not null,           -- -infinity: it is older than invoices, and billed from the first look on
  period_no        integer not null default 0,     -- of the period that was closed last; 0: none yet
  look_at          timestamptz not null default '-infinity', -- nothing is due before; infinity: never again
  primary key (tenant_id, subscription_id),
  foreign key (tenant_id, subscription_id) references subscriptions
);
create index billing_accounts_due on billing_accounts (look_at);

-- The periods that were closed, one after the other, without gaps.
create table billing_periods (
  tenant_id        text not null,
  subscription_id  text not null,
  period_no        integer not null,
  start_at         timestamptz not null,
  end_at           timestamptz not null,           -- equal to the start: only what came later than the last one
  closed_at        timestamptz not null,
  uses             jsonb not null,                 -- policies.rating.frozen.Frozen: overage as it is invoiced by now
  primary key (tenant_id, subscription_id, period_no),
  foreign key (tenant_id, subscription_id) references billing_accounts
);

-- Hours of closed periods that usage came for since; the next invoice looks at them again.
create table late_usage (
  tenant_id        text not null,
  subscription_id  text not null,
  feature_id       text not null,
  hour_at          timestamptz not null,
  primary key (tenant_id, subscription_id, feature_id, hour_at)
);

-- The number that comes next in each series. The row is locked until what has the number is committed: no gaps.
create table invoice_numbers (
  series           text primary key,               -- invoice, credit-note
  next_number      bigint not null
);
insert into invoice_numbers (series, next_number) values ('invoice', 1), ('credit-note', 1);

-- Invoices, as they were issued. No row of these three tables is ever changed or deleted: triggers refuse it.
create table invoices (
  tenant_id        text not null references tenants,
  invoice_id       text not null,
  number           bigint not null,
  subscription_id  text not null,
  period_no        integer not null,
  start_at         timestamptz not null,           -- of the billed period
  end_at           timestamptz not null,
  plan_id          text not null,
  plan_version     text not null,
  currency         text not null,
  total            bigint not null check (total >= 0), -- minor units, what the lines add up to (R38)
  issued_at        timestamptz not null,
  due_at           timestamptz,                    -- null: the plan says nothing of when
  billed_to        jsonb not null,                 -- name and email of the tenant then
  primary key (tenant_id, invoice_id),
  foreign key (tenant_id, subscription_id, period_no) references billing_periods
);
create unique index invoices_by_number on invoices (number);
create unique index invoices_by_id on invoices (invoice_id);
create unique index invoices_by_period on invoices (tenant_id, subscription_id, period_no, currency);

create table invoice_lines (
  tenant_id        text not null,
  invoice_id       text not null,
  line_no          integer not null,               -- from 1
  kind             text not null,                  -- plan, addon, overage, minimum, carried
  description      text not null,
  amount           bigint not null,                -- minor units
  version          text not null,                  -- plan or add-on version that says the price
  feature_id       text,
  start_at         timestamptz not null,
  end_at           timestamptz not null,
  body             jsonb not null,                 -- policies.rating.lines.Line, whole
  primary key (tenant_id, invoice_id, line_no),
  foreign key (tenant_id, invoice_id) references invoices
);

create table credit_notes (
  tenant_id        text not null,
  credit_note_id   text not null,
  number           bigint not null,
  invoice_id       text not null,
  amount           bigint not null check (amount > 0), -- minor units
  currency         text not null,
  settles          text not null,                  -- due: less is to be paid; balance: the next invoice is lower by it
  reason           text not null,
  issued_at        timestamptz not null,
  primary key (tenant_id, credit_note_id),
  foreign key (tenant_id, invoice_id) references invoices
);
create unique index credit_notes_by_number on credit_notes (number);
create index credit_notes_by_invoice on credit_notes (tenant_id, invoice_id);

-- What became of an invoice since it was issued.
create table invoice_states (
  tenant_id        text not null,
  invoice_id       text not null,
  state            text not null,                  -- policies.invoice.State
  since            timestamptz not null,
  paid             bigint not null default 0,      -- minor units
  credited         bigint not null default 0,      -- by credit notes that lower what is due
  returned         bigint not null default 0,      -- by those that lower the next invoice
  overdue_at       timestamptz,                    -- when its being overdue was told to the subscription; null: it was not
  reason           text not null default '',
  revision         bigint not null default 1,      -- the ETag
  primary key (tenant_id, invoice_id),
  foreign key (tenant_id, invoice_id) references invoices
);
create index invoice_states_by_state on invoice_states (state, since);

-- What a tenant owes (above zero) or has to its credit (below) beside its invoices: what they carried over, and what
-- credit notes gave back. Its sum is on the next invoice. No row is ever changed or deleted.
create table billing_ledger (
  tenant_id        text not null references tenants,
  currency         text not null,
  entry_no         bigint generated always as identity,
  at               timestamptz not null,
  amount           bigint not null,                -- minor units
  kind             text not null,                  -- carried-over, carried-in, credit-note, void
  subject          text not null,                  -- the invoice or credit note
  primary key (tenant_id, currency, entry_no)
);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% of % is refused: what was issued stays as it is', lower(tg_op), tg_table_name
    using errcode = 'integrity_constraint_violation';
end $$;
create trigger invoices_stay before update or delete or truncate on invoices
  for each statement execute function refuse_change();
create trigger invoice_lines_stay before update or delete or truncate on invoice_lines
  for each statement execute function refuse_change();
create trigger credit_notes_stay before update or delete or truncate on credit_notes
  for each statement execute function refuse_change();
create trigger billing_ledger_stays before update or delete or truncate on billing_ledger
  for each statement execute function refuse_change();

create index usage_events_uncounted on usage_events (tenant_id, feature_id, event_at) where time_window = '';
create index usage_revisions_uncounted on usage_revisions (tenant_id, feature_id, event_at) where time_window = '';
insert into billing_accounts (tenant_id, subscription_id, billed_from, closed_until)
select s.tenant_id, s.subscription_id, min(p.start_at), '-infinity'
from subscriptions s join subscription_phases p using (tenant_id, subscription_id)
group by s.tenant_id, s.subscription_id;

-- migrate:down
drop index usage_revisions_uncounted;
drop index usage_events_uncounted;
drop table billing_ledger;
drop table invoice_states;
drop table credit_notes;
drop table invoice_lines;
drop table invoices;
drop table invoice_numbers;
drop table late_usage;
drop table billing_periods;
drop table billing_accounts;
drop function refuse_change;
