-- Differences to a payment provider, plans of what is to be done about them, and what was done.
-- Billing statuses that were said before there were payment facts become words by hand, and stand as they did.
-- migrate:up
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
insert into payment_facts (tenant_id, kind, subject, state, seen_at, noted_at, body)
select distinct on (b.tenant_id, b.subscription_id) b.tenant_id, 'hand', '', b.status, said.at, said.at,
  jsonb_build_object(
    'kind', 'hand', 'state', b.status, 'seenAt', said.at, 'since', b.since, 'subscriptionId', b.subscription_id,
    'reason', b.reason
  )
from billing_statuses b
join (
  select tenant_id, subject, max(at) as at from audit where action = 'billing.set' group by tenant_id, subject
) said on said.tenant_id = b.tenant_id and said.subject = b.subscription_id
where b.since <= said.at and not exists (select from payment_facts f where f.tenant_id = b.tenant_id)
order by b.tenant_id, b.subscription_id, b.since desc;

-- migrate:down
drop table reconcile_turns;
drop table reconcile_actions;
drop table reconcile_plans;
drop table reconcile_findings;
