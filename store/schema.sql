-- The schema as it is today, to be read. migrations/ is the way to it; a test holds the two together.
-- Keys of tenant tables start with tenant_id, so that they can be distributed (R43).

-- Who holds rights -----------------------------------------------------------------------------------

create table tenants (
  tenant_id        text primary key,
  shard            smallint not null,              -- of the counters: fixed for life (keyspace.shard_of)
  name             text not null default '',
  email            text not null default '',
  metadata         jsonb not null default '{}',
  snapshot_version bigint not null default 1,      -- rises with every change that a decision could see
  revision         bigint not null default 1,      -- the ETag: rises with every change of this row
  created_at       timestamptz not null,
  updated_at       timestamptz not null,
  closed_at        timestamptz
);
create index tenants_by_shard on tenants (shard);

create table subscriptions (
  tenant_id        text not null references tenants,
  subscription_id  text not null,
  anchored_at      timestamptz not null,           -- periods are counted from here
  created_at       timestamptz not null,
  trial_ends_at    timestamptz,
  revision         bigint not null default 1,
  primary key (tenant_id, subscription_id)
);

-- What a subscription gives over time: half-open, ordered, without gaps. An edge in the future is a
-- scheduled change; it takes effect at its instant with no write.
create table subscription_phases (
  tenant_id        text not null,
  subscription_id  text not null,
  start_at         timestamptz not null,
  end_at           timestamptz,
  plan_id          text not null,
  plan_version     text not null,
  addons           jsonb not null default '[]',    -- policies.subscription.HeldAddon, by add-on id
  primary key (tenant_id, subscription_id, start_at),
  foreign key (tenant_id, subscription_id) references subscriptions
);
create index phases_by_plan_version on subscription_phases (plan_version);

-- What payments say of a subscription, each from an instant until the next; good before the first. One in
-- the future takes effect at its instant with no write, and may be dropped until then; the past stays.
create table billing_statuses (
  tenant_id        text not null,
  subscription_id  text not null,
  since            timestamptz not null,
  status           text not null,
  reason           text not null,
  happened_at      timestamptz,                    -- when what the reason tells happened; null: when it was said
  primary key (tenant_id, subscription_id, since),
  foreign key (tenant_id, subscription_id) references subscriptions
);

-- Extra quantity. A row is never changed but for voided_at, once.
create table grants (
  tenant_id        text not null references tenants,
  grant_id         text not null,
  feature_id       text not null,
  quantity         bigint not null,                -- scaled
  priority         integer not null,
  effective_at     timestamptz not null,
  expires_at       timestamptz,
  created_at       timestamptz not null,
  voided_at        timestamptz,
  reason           text not null,
  primary key (tenant_id, grant_id)
);

-- Replaced terms. A row is never changed but for lifted_at, once: by the next one for the feature, or by hand.
create table overrides (
  tenant_id        text not null references tenants,
  override_id      text not null,
  feature_id       text not null,
  terms            jsonb not null,                 -- included, upTo, value of policies.override.Override
  reason           text not null,
  starts_at        timestamptz not null,
  ends_at          timestamptz,
  lifted_at        timestamptz,
  primary key (tenant_id, override_id)
);
create unique index overrides_in_force on overrides (tenant_id, feature_id) where lifted_at is null;

-- Snapshot versions that Redis may not know yet: written with the change, removed once Redis has them.
create table snapshot_bumps (
  tenant_id        text primary key,
  snapshot_version bigint not null
);

-- What can be had --------------------------------------------------------------------------------------

create table catalogs (
  hash             text primary key,               -- sha256 over the files' text
  files            jsonb not null,                 -- path -> text
  body             jsonb not null,                 -- policies.model.Catalog, its plans and add-ons left out
  message          text not null,
  author           text not null,
  published_at     timestamptz not null,
  offer            jsonb not null,                 -- policies.model.Offer: what of it every process keeps
  compiler         text not null default ''        -- the release that compiled it; '' is an unknown one
);

-- Compiled plan and add-on versions, each kept once for all catalogs that have it word by word.
create table version_bodies (
  digest           bytea primary key,
  body             jsonb not null                  -- policies.model.PlanVersion or AddonVersion
);

create table plan_versions (
  plan_version     text not null,                  -- pro@9f2c41d0, by content
  catalog          text not null references catalogs,
  plan_id          text not null,
  digest           bytea not null references version_bodies, -- with this catalog's lines
  primary key (plan_version, catalog)
);
create index plan_versions_by_catalog on plan_versions (catalog);

create table addon_versions (
  addon_version    text not null,                  -- token-pack@1b6f02aa, by content
  catalog          text not null references catalogs,
  addon_id         text not null,
  digest           bytea not null references version_bodies, -- with this catalog's lines
  primary key (addon_version, catalog)
);
create index addon_versions_by_catalog on addon_versions (catalog);

-- What stored quantities mean, for life: written by the first publish that has the feature, never changed.
create table features (
  feature_id       text primary key,
  type             text not null,
  decimals         smallint not null,
  aggregation      text not null,
  value_type       text,
  property         text                            -- whose values are counted; null: none
);

-- The history of activations; the last row is what is active.
create table catalog_activations (
  activation       bigint generated always as identity primary key,
  hash             text not null references catalogs,
  activated_at     timestamptz not null,
  activated_by     text not null,
  message          text not null default '',
  acknowledged     jsonb not null default '[]',    -- names of the invariants that were broken knowingly
  moves            jsonb not null default '{}'     -- plan or add-on id -> now or renewal; all others were kept
);

-- How far the service's clock was moved, for all processes of an instance that lets it be moved (R41).
create table moved_clock (
  only_row         boolean primary key default true check (only_row),
  ahead_us         bigint not null                 -- microseconds past the machines' clocks
);
insert into moved_clock (ahead_us) values (0);

-- Who may ask ------------------------------------------------------------------------------------------

create table api_keys (
  key_id           text primary key,
  hash             bytea not null unique,          -- sha256 of a secret of 256 random bits
  name             text not null,
  scopes           text[] not null,
  tenant_id        text,                           -- bound to one tenant, or null
  created_at       timestamptz not null,
  expires_at       timestamptz,
  revoked_at       timestamptz
);

create table idempotency_keys (
  scope            text not null,                  -- api key id and route
  idempotency_key  text not null,
  fingerprint      bytea not null,
  status           smallint not null,
  body             bytea not null,
  etag             text,
  created_at       timestamptz not null,
  primary key (scope, idempotency_key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);

-- One line for each change, written in the transaction of the change (law 11).
create table audit (
  seq              bigint generated always as identity primary key,
  at               timestamptz not null,
  actor            text not null,                  -- key:<id>, cli:<user>, job:<name>
  action           text not null,                  -- subscription.change
  tenant_id        text,
  subject          text not null,                  -- what was changed, by id
  before           jsonb,
  after            jsonb,
  reason           text not null default '',
  request_id       text not null default ''
);
create index audit_by_tenant on audit (tenant_id, seq);

-- What was used ----------------------------------------------------------------------------------------

-- How far each shard's journal has been brought over. Locking a row is the right to flush that shard.
create table flush_cursors (
  shard            smallint primary key,
  last_id          text not null default '0-0',    -- of the journal entry that was brought over last
  entries          bigint not null default 0,
  events           bigint not null default 0,
  trim_id          text not null default '0-0',    -- entries up to it may be dropped: committed long ago
  next_trim_id     text not null default '0-0',    -- becomes trim_id once it has been committed that long
  next_trim_at     timestamptz,                    -- when next_trim_id was noted
  drained_at       timestamptz,                    -- everything acknowledged before is in Postgres; null: never looked
  number           bigint not null default 0       -- of the entry that was brought over last: the next has one more
);

-- Ids seen, by month of arrival: those of the last 60 days, and then until their month is dropped.
create table usage_keys (
  tenant_id        text not null,
  digest           uuid not null,                  -- of tenant, service and event id
  ingested_month   date not null,
  fingerprint      integer not null,               -- of the body: the same id with another body is told apart
  event_at         timestamptz,                    -- where its event is found
  primary key (tenant_id, digest, ingested_month)
) partition by range (ingested_month);

create table usage_events (
  tenant_id        text not null,
  event_at         timestamptz not null,
  digest           uuid not null,
  service_id       text not null,
  event_id         text not null,
  feature_id       text not null,
  entity_id        text not null default '',
  plan_id          text not null default '',       -- the plan of that instant; '' without a subscription
  quantity         bigint not null,                -- as it was last said, scaled; 0 if voided
  measured         bigint not null,                -- what the meter makes of it: the quantity, 1, by how much a level grew
  time_window      text not null default '',       -- the usage interval it was drawn in; '' if it moved no counter
  drawn_included   bigint not null default 0,      -- as it was booked at first; its revisions have the rest
  drawn_overage    bigint not null default 0,
  drawn_excess     bigint not null default 0,
  properties       jsonb,
  accepted_at      timestamptz not null,
  drawn_grants     jsonb,                          -- grant id -> amount; null: it took nothing from a grant
  drawn_rollover   jsonb,                          -- generation -> amount; null: it took nothing that was carried
  decided          jsonb,                          -- of a consume: what it was decided on (store.staging.Decision)
  revision         integer not null default 1,     -- 1 is as reported; each amendment is one more
  voided           boolean not null default false,
  primary key (tenant_id, event_at, digest)
) partition by range (event_at);
-- Events that came too late to move a counter: adjustments of invoices look for them.
create index usage_events_uncounted on usage_events (tenant_id, feature_id, event_at) where time_window = '';

-- What changed about events after they were booked, by the event's instant: signed, below zero where units came back.
-- Of a release or expire how units that others used moved among the buckets when it came back. Of a reservation that
-- ended late for what its period leaves to the next, what it had held: once as of its instant, and taken back when it ended.
create table usage_revisions (
  tenant_id        text not null,
  event_at         timestamptz not null,           -- of the event
  digest           uuid not null,                  -- of the revision: of the event's, and its number
  event_digest     uuid not null,
  revision         integer not null,               -- the number that the event has since; 0 of release and expire
  kind             text not null,                  -- amend, void; of reservations settle, release, expire
  feature_id       text not null,
  quantity_before  bigint not null,                -- scaled
  quantity         bigint not null,                -- since then; 0 if voided
  measured         bigint not null,                -- by how much what the meter makes of it changed
  time_window      text not null,                  -- the event's; '' if no counter moved
  drawn_included   bigint not null,
  drawn_overage    bigint not null,
  drawn_excess     bigint not null,
  drawn_grants     jsonb,
  drawn_rollover   jsonb,
  reason           text not null,
  actor            text not null,                  -- as in audit
  request          text not null,                  -- digest of whose Idempotency-Key it came with; '' without one
  revised_at       timestamptz not null,
  primary key (tenant_id, event_at, digest)
);
create index usage_revisions_uncounted on usage_revisions (tenant_id, feature_id, event_at) where time_window = '';

-- All that events have drawn, each change at its event's instant: as booked first, and by revisions since.
create view usage_draws as
select tenant_id, event_at, feature_id, time_window, accepted_at as booked_at,
  drawn_included, drawn_overage, drawn_excess, drawn_grants, drawn_rollover
from usage_events
union all
select tenant_id, event_at, feature_id, time_window, revised_at,
  drawn_included, drawn_overage, drawn_excess, drawn_grants, drawn_rollover
from usage_revisions;

-- Units that were held for a use to come; a settled one has an event of the same digest.
create table reservations (
  tenant_id        text not null,
  digest           uuid not null,                  -- of tenant, service and id
  shard            smallint not null,              -- of the tenant
  state            text not null default 'open',   -- open, settled, released, expired
  ended_at         timestamptz,
  settled          bigint,                         -- what was really used, scaled
  reserve          bytea not null,                 -- the journal's line of the reserve: what the hold in Redis is
  primary key (tenant_id, digest)
);
create index reservations_by_digest on reservations (digest);
create index reservations_open on reservations (shard) where state = 'open';
create index reservations_by_end on reservations (ended_at);

-- Usage by the hour: what reports read.
create table usage_hourly (
  tenant_id        text not null,
  feature_id       text not null,
  hour_at          timestamptz not null,
  service_id       text not null,
  entity_id        text not null,
  plan_id          text not null,
  quantity         numeric(38) not null,           -- measured, scaled: a sum that no counter bounds
  events           bigint not null,
  primary key (tenant_id, feature_id, hour_at, service_id, entity_id, plan_id)
);

-- The same by the day, in UTC: a year of a tenant is read from it.
create table usage_daily (
  tenant_id        text not null,
  feature_id       text not null,
  day              date not null,
  service_id       text not null,
  entity_id        text not null,
  plan_id          text not null,
  quantity         numeric(38) not null,
  events           bigint not null,
  primary key (tenant_id, feature_id, day, service_id, entity_id, plan_id)
);

-- The counters of Redis as sums of flushed draws, by the same names: what a rebuild puts back.
create table usage_counters (
  tenant_id        text not null,
  time_window      text not null,
  field            text not null,
  used             bigint not null,
  ends_at          timestamptz not null,           -- of the window, or of what its rest is carried into; 'infinity' for `never`
  primary key (tenant_id, time_window, field)
);
create index usage_counters_by_end on usage_counters (ends_at);

-- Counters that must come down because the flush found a duplicate that Redis had counted.
create table counter_corrections (
  correction_id    text primary key,               -- journal entry and place in it
  shard            smallint not null,
  tenant_id        text not null,
  time_window      text not null,
  field            text not null,
  amount           bigint not null
);
create index counter_corrections_by_shard on counter_corrections (shard);

create table usage_rejected (
  rejected_id      bigint generated always as identity primary key,
  tenant_id        text not null,
  rejected_at      timestamptz not null,
  slug             text not null,
  detail           text not null,
  event            jsonb not null
);
create index usage_rejected_by_tenant on usage_rejected (tenant_id, rejected_id);
create index usage_rejected_by_age on usage_rejected (rejected_at);

-- Usage that was accepted while Redis was away: a queue in front of the scripts, and the only place that has it.
create table usage_inbox (
  tenant_id        text not null,
  digest           uuid not null,
  fingerprint      integer not null,
  arrived_at       timestamptz not null,
  event            jsonb not null,                 -- policies.usage.Usage
  sent_at          timestamptz,                    -- when a script took it; it stays until its key is in usage_keys
  primary key (tenant_id, digest)
);
create index usage_inbox_by_arrival on usage_inbox (arrived_at);

-- Journal entries whose digest did not match their content, or that were refused here: kept, not counted, alarmed.
create table journal_quarantine (
  shard            smallint not null,
  entry_id         text not null,
  fields           jsonb not null,                 -- base64 of what stood there
  reason           text not null,
  found_at         timestamptz not null,
  ended_at         timestamptz,
  ended_as         text,                           -- applied, dismissed
  primary key (shard, entry_id)
);

-- How far a process has acknowledged entries: the highest number in each epoch of a shard's journal.
create table journal_tips (
  shard            smallint not null,
  epoch            bigint not null,
  number           bigint not null,
  primary key (shard, epoch)
);

-- Each time a shard is certified its numbers go on from a new epoch. Between `ended` and `began` there is no entry: whoever
-- has acknowledged one of those numbers has acknowledged what is lost.
create table journal_epochs (
  shard            smallint not null,
  began            bigint not null,
  ended            bigint not null,
  certified_at     timestamptz not null,
  primary key (shard, began)
);

-- What should never happen, and somebody must look at: open until they say what they made of it.
create table incidents (
  incident_id      bigint generated always as identity primary key,
  kind             text not null,                  -- entries-lost, journal-gap, journal-older, entry-quarantined
  shard            smallint not null,
  subject          text not null,                  -- of one subject a kind is told once
  entries          bigint,                         -- how many entries it is about, where that is known
  detail           text not null,
  found_at         timestamptz not null,
  closed_at        timestamptz,
  closed_by        text,
  reason           text,
  unique (kind, shard, subject)
);
create index incidents_open on incidents (found_at) where closed_at is null;

-- What is owed ------------------------------------------------------------------------------------------

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

-- What became known of payments, from which billing statuses follow. No row is ever changed or deleted.
create table payment_facts (
  tenant_id        text not null references tenants,
  fact_no          bigint generated always as identity,
  kind             text not null,                  -- invoice, subscription, dispute, refund, warning, customer, hand
  subject          text not null,
  state            text not null,
  seen_at          timestamptz not null,
  noted_at         timestamptz not null,
  body             jsonb not null,                 -- policies.payment.fact.PaymentFact, whole
  primary key (tenant_id, fact_no)
);
create index payment_facts_by_look on payment_facts (tenant_id, seen_at, fact_no);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% of % is refused: what was written stays as it is', lower(tg_op), tg_table_name
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
create trigger payment_facts_stay before update or delete or truncate on payment_facts
  for each statement execute function refuse_change();
create trigger catalogs_stay before update or delete or truncate on catalogs
  for each statement execute function refuse_change();
create trigger version_bodies_stay before update or delete or truncate on version_bodies
  for each statement execute function refuse_change();
create trigger plan_versions_stay before update or delete or truncate on plan_versions
  for each statement execute function refuse_change();
create trigger addon_versions_stay before update or delete or truncate on addon_versions
  for each statement execute function refuse_change();
create trigger features_stay before update or delete or truncate on features
  for each statement execute function refuse_change();
create trigger catalog_activations_stay before update or delete or truncate on catalog_activations
  for each statement execute function refuse_change();
create trigger audit_stays before update or delete or truncate on audit
  for each statement execute function refuse_change();

-- Who moves the money ---------------------------------------------------------------------------------

-- The accounts at payment providers that this instance has worked with. Invoices from before charges_since stay with whoever
-- collects them by hand.
create table payment_accounts (
  account          text primary key,               -- stripe:live, stripe:test
  charges_since    timestamptz not null,
  asked_until      timestamptz                     -- notices were asked for up to here; null: not yet
);

-- Who pays, at the provider. Holding the lease is the right to ask for anything of the tenant's.
create table payers (
  tenant_id        text primary key references tenants,
  customer_ref     text,                           -- null: not there yet
  holder           text,
  lease_until      timestamptz,
  woken_at         timestamptz                     -- when the customer last had a new way to pay
);
create unique index payers_by_customer on payers (customer_ref);

-- Invoices that a provider is to collect, and how far that is.
create table charges (
  tenant_id        text not null references payers,
  invoice_id       text not null,
  currency         text not null,
  total            bigint not null,                -- minor units
  state            text not null,                  -- policies.charging.charge.State
  revision         integer not null default 1,     -- rises when a draft was deleted elsewhere and all begins anew
  days             integer[] not null,             -- of the attempts, after opened_at
  invoice_ref      text,
  page_url         text not null default '',       -- where the customer can pay
  opened_at        timestamptz,                    -- since when it binds
  next_at          timestamptz,                    -- when to go on; null: not by itself
  tries            integer not null default 0,     -- since it got on last
  credited         bigint not null default 0,      -- minor units: by credit notes that the provider has, too
  reason           text not null default '',       -- why it waits or was stopped
  primary key (tenant_id, invoice_id),
  foreign key (tenant_id, invoice_id) references invoices
);
create index charges_due on charges (next_at) where next_at is not null;
create index charges_by_ref on charges (invoice_ref);

-- What was, is being and is to be ordered of the provider. `sending` is the only state in which nobody knows.
create table charge_operations (
  tenant_id        text not null references payers,
  invoice_id       text not null,                  -- empty: the tenant's customer
  revision         integer not null,
  place            integer not null,
  step             text not null,                  -- policies.charging.charge.Step
  subject          text not null default '',
  body             jsonb,                          -- policies.charging.orders: kept before it is sent, never made anew
  state            text not null default 'planned', -- planned, sending, done, rejected
  key_revision     integer not null default 1,
  first_sent_at    timestamptz,
  ref              text,                           -- of what it made
  primary key (tenant_id, invoice_id, revision, place)
);

create table payment_attempts (
  tenant_id        text not null,
  invoice_id       text not null,
  attempt          integer not null,               -- from 1: each has a key of its own
  state            text not null default 'planned', -- planned, sending, paid, declined
  due_at           timestamptz,                    -- null: when the customer has a new way to pay
  at               timestamptz,                    -- when it was answered
  code             text not null default '',       -- of a decline
  reason           text not null default '',
  primary key (tenant_id, invoice_id, attempt),
  foreign key (tenant_id, invoice_id) references charges
);

-- What a provider told us, or we asked it for: hints, each kept once. What is so is fetched.
create table payment_notices (
  ref              text primary key,               -- the provider's id of it
  account          text not null,
  type             text not null,
  happened_at      timestamptz not null,
  received_at      timestamptz not null,
  via              text not null,                  -- told, asked
  things           jsonb not null,                 -- policies.charging.seen.Thing: what is to be looked at
  version          text not null,                  -- of the API that it is written in
  caused_by        text not null                   -- the key of our order that led to it
);
create index payment_notices_by_age on payment_notices (received_at);

-- Things of the provider as they were when they were looked at last. Looks are counted, so that one that began earlier never
-- overwrites one that began later; no clock is asked which that was.
create table payment_objects (
  ref              text primary key,
  kind             text not null,                  -- policies.charging.seen.Kind
  wanted           bigint not null default 1,      -- looks that were asked for
  claimed          bigint not null default 0,      -- looks that were begun
  read             bigint not null default 0,      -- the look that body is from
  next_at          timestamptz,                    -- when to look; null: nobody asked
  lease_until      timestamptz,                    -- somebody looks
  tries            integer not null default 0,
  tenant_id        text,                           -- null: not of a tenant of ours
  body             jsonb,                          -- policies.charging.seen; null: not looked at, or gone
  read_at          timestamptz,
  failed           text not null default ''        -- why it could not be read
);
create index payment_objects_due on payment_objects (next_at) where next_at is not null;
create index payment_objects_by_tenant on payment_objects (tenant_id, kind);

-- Differences to a payment provider, plans of what is to be done about them, and what was done.
create table reconcile_findings (
  tenant_id        text not null,                  -- empty: of no tenant of ours
  finding_id       text not null,
  class            text not null,
  state            text not null,                  -- suspected, open, gone
  looks            integer not null,
  first_seen_at    timestamptz not null,
  last_seen_at     timestamptz not null,
  body             jsonb not null,                 -- policies.reconcile.finding.Finding
  primary key (tenant_id, finding_id)
);
create index reconcile_findings_by_state on reconcile_findings (state, first_seen_at);
create table reconcile_plans (
  plan_id          text primary key,
  made_at          timestamptz not null,
  scope            text not null,
  body             jsonb not null                  -- policies.reconcile.plan.Plan, as it was made
);
create index reconcile_plans_by_age on reconcile_plans (made_at, plan_id);
create table reconcile_actions (
  plan_id          text not null references reconcile_plans,
  finding_id       text not null,
  state            text not null,                  -- done, past, failed
  at               timestamptz not null,
  told             text not null,
  primary key (plan_id, finding_id)
);
create table reconcile_turns (
  scope            text primary key,
  next_at          timestamptz not null
);
insert into reconcile_turns (scope, next_at) values ('open', '-infinity'), ('full', '-infinity');

-- What was answered ------------------------------------------------------------------------------------

-- The decision log: denials, what could not be decided, and every so-manieth allow. By day; days are dropped.
create table decisions (
  tenant_id        text not null,
  as_of            timestamptz not null,           -- the instant that it was decided for
  decision_id      text not null,
  feature_id       text not null,
  outcome          text not null,
  reason           text not null,
  weight           integer not null,               -- how many answers it stands for: N of a sampled allow, else 1
  body             json not null,                  -- policies.logged.Logged, as it was written
  primary key (tenant_id, as_of, decision_id)
) partition by range (as_of);
create index decisions_by_time on decisions (as_of, decision_id);
create index decisions_by_id on decisions (decision_id);

-- Are the books right? ---------------------------------------------------------------------------------

-- Where two records of the same thing differ. Nothing here repairs anything.
create table drift (
  tenant_id        text not null,
  drift_id         text not null,                  -- of class, tenant and subject: the same whenever it is found
  class            text not null,                  -- policies.drift.KINDS
  feature_id       text not null,
  subject          text not null,                  -- what differs: a counter, an hour, a day, a reservation, a bucket
  expected         jsonb not null,
  actual           jsonb not null,
  money            jsonb,                          -- currency -> minor units at risk; null: none, or nobody has rated it
  evidence         jsonb not null,                 -- how each side came to what it says
  action           text not null,                  -- what would end it
  why_safe         text not null,                  -- '': somebody has to look first
  state            text not null,                  -- suspected until a second look has found the same, open, gone
  looks            integer not null,
  first_seen_at    timestamptz not null,
  last_seen_at     timestamptz not null,
  gone_at          timestamptz,
  primary key (tenant_id, drift_id)
);
create index drift_by_state on drift (state, first_seen_at);

-- How far the books have been gone through, part by part: again and again.
create table books_rounds (
  part             text primary key,               -- s000 to s255: a shard's tenants; keys: all counters of Redis by name
  after            text not null default '',       -- what was looked at last; '': it begins anew
  began_at         timestamptz,
  finished_at      timestamptz,                    -- when it was whole
  tried_at         timestamptz,
  looked           bigint not null default 0       -- tenants, or names, since ever
);
