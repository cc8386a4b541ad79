-- What the stored values of a static feature mean is for life as well: what tenants were given in its place is kept.
-- migrate:up
alter table features add column value_type text;
update features f set value_type = (
  select c.body #>> array['features', f.feature_id, 'valueType'] from catalogs c
  where c.body -> 'features' ? f.feature_id
  order by c.published_at desc limit 1
);

-- migrate:down
alter table features drop column value_type;
