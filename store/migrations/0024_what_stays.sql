-- What was published and what was noted down is never changed: until now nothing did, now nothing can.
-- migrate:up
create or replace function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% of % is refused: what was written stays as it is', lower(tg_op), tg_table_name
    using errcode = 'integrity_constraint_violation';
end $$;
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

-- migrate:down
drop trigger audit_stays on audit;
drop trigger catalog_activations_stay on catalog_activations;
drop trigger features_stay on features;
drop trigger addon_versions_stay on addon_versions;
drop trigger plan_versions_stay on plan_versions;
drop trigger version_bodies_stay on version_bodies;
drop trigger catalogs_stay on catalogs;
create or replace function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% of % is refused: what was issued stays as it is', lower(tg_op), tg_table_name
    using errcode = 'integrity_constraint_violation';
end $$;
