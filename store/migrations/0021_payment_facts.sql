-- What became known of payments, from which billing statuses follow.
-- migrate:up
alter table billing_statuses add column happened_at timestamptz;
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
create trigger payment_facts_stay before update or delete or truncate on payment_facts
  for each statement execute function refuse_change();

-- migrate:down
drop table payment_facts;
alter table billing_statuses drop column happened_at;
