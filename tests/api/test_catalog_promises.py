"""A catalog that breaks a promise of its own is published only if somebody says by name that they know."""

import msgspec
import psycopg
import pytest

from policies import errors
from policies.compiler.findings import Finding
from service.usecases import publish
from service.usecases.activation import Wish
from tests.api.test_catalog_bad_input import write
from tests.api.test_catalog_moves import edited
from tests.api.test_command_line import instance, run, told  # noqa: F401 - a fixture
from tests.conftest import ROOT

NAMES = ("upgrades never take away", "add-ons only add")


@pytest.fixture
async def breaking(catalog, example_files):
    """Another catalog, examined, with two of its promises broken, one of them twice."""
    files = edited(example_files, ("plans/pro.yaml", "49.00", "59.00"))
    examined = await publish.examine(files)
    found = [
        Finding(
            path="plans/pro.yaml", line=line, column=1, severity="error", slug="invariant", text="",
            name=name, message="Pro gives less than Starter",
        )
        for line, name in ((3, NAMES[0]), (5, NAMES[0]), (7, NAMES[1]))
    ]  # fmt: skip
    return files, msgspec.structs.replace(examined, findings=found)


async def test_a_broken_promise_refuses_the_catalog(context, catalog, breaking):
    files, examined = breaking
    for names in ((), NAMES[:1]):
        with pytest.raises(errors.CatalogError) as refused:
            await publish.publish(
                context, ROOT, files, Wish(message="x", acknowledge=names), examined=examined
            )
        assert len(refused.value.errors) == 3
    assert (await publish.active(context)).hash == catalog.hash


async def test_who_names_them_all_publishes_and_it_is_written_down(context, config, breaking):
    files, examined = breaking
    wish = Wish(message="We know", acknowledge=NAMES)
    done = await publish.publish(context, ROOT, files, wish, examined=examined)
    assert (done.activated, done.acknowledged) == (True, list(NAMES))
    assert await publish.known(context) is None  # what it breaks is looked at again with the next publish
    assert (await publish.history(context, limit=1))[0].acknowledged == list(NAMES)
    with psycopg.connect(config.database_url) as connection:
        (line,) = connection.execute(
            "select after -> 'acknowledged' from audit where action = 'catalog.publish' "
            "order by seq desc limit 1"
        ).fetchone()
    assert line == list(NAMES)


async def test_what_is_acknowledged_without_need_is_not_written_down(context, catalog, example_files):
    files = edited(example_files, ("plans/pro.yaml", "49.00", "59.00"))
    done = await publish.publish(context, ROOT, files, Wish(message="x", acknowledge=NAMES))
    assert (done.activated, done.acknowledged) == (True, [])
    assert (known := await publish.known(context)) is not None
    assert (known.files, known.catalog.hash) == (files, done.hash)


async def test_only_promises_that_the_catalog_has_can_be_acknowledged(api, catalog, example_files):
    files = edited(example_files, ("plans/pro.yaml", "49.00", "59.00"))
    body = {"files": files, "message": "x", "acknowledge": [NAMES[0], "add-ons add"]}
    for dry in (True, False):
        refused = await api.post("/v1/catalogs/publish", json=body | {"dryRun": dry})
        assert refused.status_code == 422
        assert [one["pointer"] for one in refused.json()["errors"]] == ["/acknowledge/1"]
    assert (await api.get("/v1/catalog")).json()["hash"] == catalog.hash


async def test_nothing_but_a_promise_can_be_acknowledged(context, catalog, breaking):
    files, examined = breaking
    other = msgspec.structs.replace(examined.findings[0], slug="test-failed")
    failing = msgspec.structs.replace(examined, findings=[other])
    with pytest.raises(errors.CatalogError):
        await publish.publish(context, ROOT, files, Wish(message="x", acknowledge=NAMES), examined=failing)


async def test_a_promise_of_the_example_that_an_edit_breaks(api, catalog, example_files):
    files = edited(example_files, ("plans/pro.yaml", "max-projects: 50", "max-projects: 1"))
    body = {"files": files, "message": "Fewer projects"}
    checked = (await api.post("/v1/catalogs/check", json={"files": files})).json()
    assert (checked["publishable"], {one["name"] for one in checked["findings"]}) == (False, {NAMES[0]})
    refused = await api.post("/v1/catalogs/publish", json=body)
    assert refused.status_code == 422
    assert NAMES[0] in refused.text
    assert (await api.post("/v1/catalogs/diff", json={"files": files})).status_code == 200
    assert (await api.get("/v1/catalog")).json()["hash"] == catalog.hash
    done = await api.post("/v1/catalogs/publish", json=body | {"acknowledge": [NAMES[0]]})
    assert (done.status_code, done.json()["acknowledged"]) == (200, [NAMES[0]])
    again = edited(files, ("plans/free.yaml", "name: Free", "name: Gratis"))
    refused = await api.post("/v1/catalogs/publish", json={"files": again, "message": "x"})
    assert refused.status_code == 422  # it is still broken, and has to be answered for again


def test_the_command_line_says_how_to_answer_for_it(instance, tmp_path, example_files):  # noqa: F811
    write(tmp_path, edited(example_files, ("plans/pro.yaml", "max-projects: 50", "max-projects: 1")))
    said = run("catalog", "publish", tmp_path, "--message", "x", ends=1).output
    assert said.endswith(
        f"Nothing was published. Mend it, or say that you know: --acknowledge '{NAMES[0]}'\n"
    )
    run("catalog", "check", tmp_path, ends=1)
    assert "is published and active" in run(
        "catalog", "publish", tmp_path, "--message", "x", "--acknowledge", NAMES[0]
    ).output  # fmt: skip
    (line,) = told("catalog", "history")["items"]
    assert line["acknowledged"] == [NAMES[0]]
