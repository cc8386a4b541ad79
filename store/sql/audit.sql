-- name: append
-- One line, in the transaction of the change that it tells of.
insert into audit (at, actor, action, tenant_id, subject, before, after, reason, request_id)
values (%(at)s, %(actor)s, %(action)s, %(tenant_id)s, %(subject)s, %(before)s::jsonb, %(after)s::jsonb,
        %(reason)s, %(request_id)s)
