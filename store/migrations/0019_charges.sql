-- Invoices are collected by a payment provider, and what it tells is kept.
-- migrate:up
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
  lease_until      timestamptz
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

-- migrate:down
drop table payment_objects;
drop table payment_notices;
drop table payment_attempts;
drop table charge_operations;
drop table charges;
drop table payers;
drop table payment_accounts;
