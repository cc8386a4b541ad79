-- migrate:up

alter table subscription_phases add column addons jsonb not null default '[]';

-- What payments say of a subscription, each from an instant until the next; good before the first. One in
-- the future takes effect at its instant with no write, and may be dropped until then; the past stays.
create table billing_statuses (
  tenant_id        text not null,
  subscription_id  text not null,
  since            timestamptz not null,
  status           text not null,
  reason           text not null,
  primary key (tenant_id, subscription_id, since),
  foreign key (tenant_id, subscription_id) references subscriptions
);

insert into billing_statuses (tenant_id, subscription_id, since, status, reason)
select tenant_id, subscription_id, created_at, billing_status, ''
from subscriptions where billing_status <> 'good';

alter table subscriptions drop column billing_status;

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

create table addon_versions (
  addon_version    text not null,                  -- token-pack@1b6f02aa, by content
  catalog          text not null references catalogs,
  addon_id         text not null,
  body             jsonb not null,                 -- policies.model.AddonVersion, with this catalog's lines
  primary key (addon_version, catalog)
);

-- migrate:down
drop table addon_versions, overrides, grants;

alter table subscriptions add column billing_status text not null default 'good';
update subscriptions s set billing_status = b.status
from (
  select distinct on (tenant_id, subscription_id) tenant_id, subscription_id, status
  from billing_statuses where since <= now() order by tenant_id, subscription_id, since desc
) b where b.tenant_id = s.tenant_id and b.subscription_id = s.subscription_id;

drop table billing_statuses;

alter table subscription_phases drop column addons;
