-- What a use that was consumed was decided on: enough to give its answer again.
-- migrate:up
alter table usage_events add column decided jsonb;

-- migrate:down
alter table usage_events drop column decided;
