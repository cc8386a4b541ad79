"""What an acknowledgement waits for beyond the script's answer: nothing, or under `strict` Postgres (R28)."""

from collections.abc import Collection

from policies import errors
from service.context import Context
from store import keyspace


async def committed(context: Context, tenant_ids: Collection[str]) -> bool:
    """Whether what was accepted for these tenants may be acknowledged; if not, nobody knows."""
    if context.committer is None or not tenant_ids:
        return True
    return await context.committer.committed({keyspace.shard_of(each) for each in tenant_ids})


async def require(context: Context, tenant_id: str) -> None:
    """The same for one act.

    Errors: UnavailableError; with the same id it may be asked again.
    """
    if not await committed(context, (tenant_id,)):
        raise errors.UnavailableError("It cannot be kept for good now.", retry_after_s=2)
