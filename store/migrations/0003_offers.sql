-- What every process keeps of the active catalog is read by itself, without the bodies of its plans.
-- migrate:up
alter table catalogs add column offer jsonb;
update catalogs c set offer = jsonb_build_object(
  'hash', c.hash,
  'features', c.body -> 'features',
  'plans', (select coalesce(jsonb_object_agg(p.key, p.value -> 'version'), '{}') from jsonb_each(c.body -> 'plans') p),
  'addons', (select coalesce(jsonb_object_agg(a.key, a.value -> 'version'), '{}')
    from jsonb_each(coalesce(c.body -> 'addons', '{}')) a),
  'fallbackPlan', c.body -> 'plans' -> (c.body ->> 'fallbackPlan') -> 'version',
  'ladder', (
    select coalesce(jsonb_agg(c.body -> 'plans' -> l.plan_id -> 'version' order by l.step), '[]')
    from jsonb_array_elements_text(coalesce(c.body -> 'ladder', '[]')) with ordinality l (plan_id, step)
  )
);
alter table catalogs alter column offer set not null;

-- migrate:down
alter table catalogs drop column offer;
