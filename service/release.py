"""Which release compiled a catalog: what another one made of the same files may be different."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

_POLICIES: Final = Path(__file__).parents[1] / "policies"


@cache
def compiler() -> str:
    """Changes with every line of `policies/`, where catalogs are read, built and validated."""
    whole = hashlib.sha256()
    for path in sorted(_POLICIES.rglob("*.py")):
        whole.update(path.relative_to(_POLICIES).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()[:16]
