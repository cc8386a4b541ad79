"""What the tests of management routes look at in answers."""

from datetime import datetime


def problem_of(response, status: int, pointer: str | None = None) -> dict:
    """The problem of a refusal, whose first bad field stands at the pointer."""
    assert response.status_code == status, response.text
    problem = response.json()
    if pointer is not None:
        assert problem["errors"][0]["pointer"] == pointer
    return problem


def instant(at: datetime) -> str:
    """As answers write it."""
    return at.isoformat().replace("+00:00", "Z")
