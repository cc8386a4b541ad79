"""What a route can ask for by name: `context`, `caller`, `telemetry`, each as `NamedDependency[...]`."""

from typing import Final

from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import Scope

from service.context import Caller, Context
from service.telemetry import Telemetry


def _context(state: State) -> Context:
    context: Context = state.context
    return context


def _caller(scope: Scope) -> Caller:
    """Who passed the guard."""
    passed: Caller = scope["state"]["caller"]
    return passed


def _telemetry(state: State) -> Telemetry:
    telemetry: Telemetry = state.telemetry
    return telemetry


DEPENDENCIES: Final = {
    "context": Provide(_context, sync_to_thread=False),
    "caller": Provide(_caller, sync_to_thread=False),
    "telemetry": Provide(_telemetry, sync_to_thread=False),
}
"""By name."""
