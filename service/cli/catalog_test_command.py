"""`metergate catalog test`: the table tests of a catalog, and which of its rules they see decide."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from policies.case_runner import Result, Tested
from policies.compiler.findings import Finding, visible
from policies.coverage import Coverage, Rule
from service.api import wire
from service.cli import show
from service.cli.catalog_policy import examine, read
from service.usecases.publish import Examined

_FOUND: Final = 1
_FAILED: Final = "test-failed"
_LISTED: Final = 50
"""Rules without a test that are listed for people; programs get all."""


class _Report(wire.Answer, frozen=True):
    """What came of the tests."""

    passed: int
    failed: int
    results: Sequence[Result]
    """Every test; those without differences passed."""
    rules: int
    """Policies, their clauses, and guards."""
    covered: int
    """Those that decided some test."""
    coverage: int
    """In percent, rounded down."""
    uncovered: Sequence[Rule]
    findings: Sequence[Finding]
    """What is wrong with the files; with errors no test is run."""


@click.command("test")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--min-coverage",
    type=click.IntRange(0, 100),
    default=0,
    metavar="PERCENT",
    help="Fail if fewer rules of the plans than this decide some test.",
)
@show.json_option
@click.pass_context
def test_catalog(command: click.Context, *, folder: Path, min_coverage: int, as_json: bool) -> None:
    """Run the table tests of the plan files in DIR, and say which rules of the plans no test sees decide.

    Exits with 0 if all pass, 1 if one fails or too few rules are covered. Needs no servers.
    """
    examined = examine(read(folder))
    tested = examined.tested
    if as_json:
        show.json(_report(examined))
    elif tested is None:
        for finding in examined.findings:
            click.echo(finding.render() + "\n")
        click.echo("The plan files have errors; no test was run.")
    else:
        _show(tested, min_coverage)
    good = tested is not None and not tested.failed and tested.coverage.percent >= min_coverage
    command.exit(0 if good else _FOUND)


def _report(examined: Examined) -> _Report:
    tested = examined.tested or Tested(results=(), coverage=Coverage(rules=0))
    coverage = tested.coverage
    return _Report(
        passed=len(tested.results) - len(tested.failed),
        failed=len(tested.failed),
        results=tested.results,
        rules=coverage.rules,
        covered=coverage.covered,
        coverage=coverage.percent if examined.tested else 0,
        uncovered=coverage.uncovered,
        findings=[finding for finding in examined.findings if finding.slug != _FAILED],
    )


def _show(tested: Tested, min_coverage: int) -> None:
    for result in tested.failed:
        _show_failed(result)
    coverage = tested.coverage
    for rule in coverage.uncovered[:_LISTED]:
        click.echo(visible(rule.sentence()))
    if len(coverage.uncovered) > _LISTED:
        click.echo(f"… and {len(coverage.uncovered) - _LISTED:,} more rules; --json lists all.")
    if coverage.uncovered:
        click.echo()
    passed = len(tested.results) - len(tested.failed)
    click.echo(
        f"{passed:,} of {_count(len(tested.results), 'test')} passed; "
        f"{coverage.covered:,} of {_count(coverage.rules, 'rule')} covered, {coverage.percent} %."
    )
    if coverage.percent < min_coverage:
        click.echo(f"At least {min_coverage} % have to be.")


def _show_failed(result: Result) -> None:
    """The test, each difference, and what decided."""
    click.echo(visible(f"{result.source}: failed: {result.name}"))
    for difference in result.differences:
        click.echo(visible(f"    {difference.field}: expected {difference.expected}, got {difference.got}"))
    by = f"{result.policy_id}, {result.decided_at}" if result.policy_id else result.decided_at or "no policy"
    click.echo(visible(f"    decided by {by}: {result.message}"))
    click.echo()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
