"""Which files a catalog has, and what is said of a file that it has not."""

import re
from collections.abc import Mapping
from typing import Final

from policies import limits
from policies.compiler.findings import Findings, Place

FEATURES: Final = "features.yaml"
INVARIANTS: Final = "invariants.yaml"
PLANS: Final = "plans"
ADDONS: Final = "addons"
GUARDS: Final = "guards"
TESTS: Final = "tests"

_ENDINGS: Final = {PLANS: ".yaml", ADDONS: ".yaml", TESTS: ".yaml", GUARDS: ".cedar"}
_PROSE: Final = re.compile(r"(?:[^/]+/)?[^/]+\.md")
_HAS: Final = ", ".join(
    [FEATURES, INVARIANTS, *(f"{folder}/*{ending}" for folder, ending in _ENDINGS.items())]
)


def fits(files: Mapping[str, str], findings: Findings) -> bool:
    """Whether the catalog as a whole is small enough to be read at all."""
    size = sum(len(text) for text in files.values())
    if len(files) > limits.CATALOG_FILES:
        message = f"a catalog has at most {limits.CATALOG_FILES:,} files, not {len(files):,}"
    elif size > limits.CATALOG_BYTES:
        message = f"a catalog has at most {limits.CATALOG_BYTES:,} bytes, not {size:,}"
    else:
        return True
    findings.error(Place(path=min(files)), "too-large", message)
    return False


def is_within(path: str, text: str, most: int, findings: Findings) -> bool:
    """Whether one file is small enough to be read."""
    if len(text) <= most and len(text.encode(errors="replace")) <= most:
        return True
    findings.error(Place(path=path), "too-large", f"the file is larger than {most:,} bytes")
    return False


def by_folder(files: Mapping[str, str], findings: Findings) -> dict[str, list[str]]:
    """The paths of each folder, in their order; what belongs to no folder gets its finding."""
    found: dict[str, list[str]] = {folder: [] for folder in _ENDINGS}
    for path in sorted(files):
        folder, _, name = path.rpartition("/")
        if len(path) > limits.CATALOG_PATH_LENGTH or not path.isprintable():
            _foreign(path[: limits.CATALOG_PATH_LENGTH], findings)
        elif folder in found and name.endswith(_ENDINGS[folder]) and name != _ENDINGS[folder]:
            found[folder].append(path)
        elif path not in {FEATURES, INVARIANTS} and not _PROSE.fullmatch(path):
            _foreign(path, findings)
    return found


def stem(path: str) -> str:
    """`plans/pro.yaml` → `pro`."""
    return path.rpartition("/")[2].rpartition(".")[0]


def _foreign(path: str, findings: Findings) -> None:
    folder, _, name = path.rpartition("/")
    top = folder.partition("/")[0]
    hint = ""
    if folder != top and top in _ENDINGS:
        hint = f"{top}/ has no folders inside"
    elif folder in _ENDINGS and re.fullmatch(r"[^/]+\.(yml|yaml|YAML|YML|toml|json|cedar)", name):
        hint = f"a file in {folder}/ ends in {_ENDINGS[folder]}"
    elif not folder:
        hint = findings.suggest(path, [FEATURES, INVARIANTS])
    elif near := findings.suggest(f"{folder}/", [f"{known}/" for known in _ENDINGS]):
        hint = near
    findings.error(Place(path=path), "unknown-file", "a catalog has no such file", hint or f"it has {_HAS}")
