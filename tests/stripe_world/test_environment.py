"""A machine without a Python for the simulator: a failure in CI, elsewhere a line that nobody overlooks."""

import pytest

from tests.stripe_world import environment


@pytest.fixture(autouse=True)
def _nothing_there(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "FOLDER", tmp_path / "world")
    monkeypatch.setattr(environment, "find", lambda: None)


def test_in_ci_it_fails_and_says_so(monkeypatch):
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="needs Python 3"):
        environment.interpreter()


def test_elsewhere_it_skips_and_says_so_loudly(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="STRIPE WORLD IS NOT RUN"):
        environment.interpreter()
