"""What stored numbers and values mean is known for every feature that was ever published."""

from store import catalogs, migrate, postgres


async def test_meanings_are_those_of_the_catalog_that_had_the_feature_first(context, catalog):
    async with postgres.transaction(context.pool) as connection:
        known = await catalogs.meanings(connection)
    assert {one.feature_id: (one.type, one.decimals, one.value_type) for one in known.values()} == {
        one.id: (one.type, one.decimals, one.value_type) for one in catalog.features.values()
    }


async def test_value_types_of_features_that_were_kept_before_come_from_their_catalogs(context, catalog):
    """What migration 0007 fills in is what a publish writes."""
    async with postgres.transaction(context.pool) as connection:
        written = await catalogs.meanings(connection)
        await connection.execute("set local session_replication_role = replica")  # else it is refused
        await connection.execute("alter table features drop column value_type")
        up = next(one.up for one in migrate.migrations() if one.version == "0007")
        await connection.execute(up.encode())
        assert await catalogs.meanings(connection) == written
    assert written["max-projects"].value_type == "integer"
