-- Whose values a unique meter counts is for life, too: its events are looked at again when one of them is voided.
-- migrate:up
alter table features add column property text;

-- migrate:down
alter table features drop column property;
