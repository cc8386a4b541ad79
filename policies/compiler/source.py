"""What the files of a catalog say, read strictly and kept with the place of every name and value."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from policies import limits
from policies.compiler import document, terms
from policies.compiler.fields import FEATURES, PLAN, FeaturesSource, PlanSource
from policies.compiler.findings import Findings, Place
from policies.compiler.terms import TermsSource

FEATURES_FILE: Final = "features.yaml"
_PLAN_FILE: Final = re.compile(r"plans/([^/]+)\.yaml")
_LATER: Final = re.compile(r"(?:(addons|guards|tests)/.*|invariants\.yaml)", re.DOTALL)
_PROSE: Final = re.compile(r"(?:[^/]+/)?[^/]+\.md")


class PlanFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file in plans/, as far as it could be read."""

    path: str
    stem: str
    """The file's name, which is the plan's id."""
    plan: PlanSource | None
    terms: dict[str, TermsSource | None]
    """By feature id, in the order of the file; None where the terms could not be read."""


class CatalogSource(msgspec.Struct, frozen=True, kw_only=True):
    """All files, in the order of their paths."""

    features: FeaturesSource | None
    plans: tuple[PlanFile, ...]

    @property
    def plan_ids(self) -> set[str]:
        """Every id that a plan has or, by its file's name, will have once the file can be read."""
        ids = {file.plan.plan for file in self.plans if file.plan and file.plan.plan}
        return ids | {file.stem for file in self.plans}


def read(files: Mapping[str, str], findings: Findings) -> CatalogSource:
    """Reads path → text. Every file is read as far as it goes; what is wrong stands in `findings`.

    Bytes that were no UTF-8 should come as lone surrogates (`errors="surrogateescape"`): they are pointed at.
    """
    if not _fits(files, findings):
        return CatalogSource(features=None, plans=())
    features = _features(files, findings)
    plans = []
    for path in sorted(files):
        if len(path) > limits.CATALOG_PATH_LENGTH or not path.isprintable():
            _foreign(path[: limits.CATALOG_PATH_LENGTH], findings)
        elif match := _PLAN_FILE.fullmatch(path):
            plans.append(_plan(path, match[1], files[path], features, findings))
        elif path != FEATURES_FILE and not _PROSE.fullmatch(path):
            _foreign(path, findings)
    if not plans:
        message = "the catalog has no plan"
        findings.error(
            Place(path="plans/"), "missing-file", message, "write the first one, such as plans/free.yaml"
        )
    return CatalogSource(features=features, plans=tuple(plans))


def _fits(files: Mapping[str, str], findings: Findings) -> bool:
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


def _features(files: Mapping[str, str], findings: Findings) -> FeaturesSource | None:
    if FEATURES_FILE not in files:
        hint = "it lists everything that plans can give"
        findings.error(Place(path=FEATURES_FILE), "missing-file", "the file is missing", hint)
        return None
    root = document.read(FEATURES_FILE, files[FEATURES_FILE], findings)
    if root is None:
        return None
    return FEATURES.read(root, FEATURES_FILE, root.at, findings)


def _plan(path: str, stem: str, text: str, features: FeaturesSource | None, findings: Findings) -> PlanFile:
    root = document.read(path, text, findings)
    plan = PLAN.read(root, "the plan", root.at, findings) if root else None
    said = (plan.features if plan else None) or {}
    known = (features.features if features else None) or {}
    read = {
        feature_id: terms.read(node, feature_id, known.get(feature_id), findings)
        for feature_id, node in said.items()
        if node is not None
    }
    return PlanFile(path=path, stem=stem, plan=plan, terms=read)


def _foreign(path: str, findings: Findings) -> None:
    at = Place(path=path)
    if _LATER.fullmatch(path):
        what = f"a file in {path.partition('/')[0]}/" if "/" in path else path
        findings.error(at, "not-supported", f"{what} is not supported by this version yet", "take it out")
        return
    hint = ""
    if re.fullmatch(r"plans/[^/]+\.(yml|YAML|YML|toml|json)", path):
        hint = "a plan file ends in .yaml"
    elif "/" not in path:
        hint = findings.suggest(path, [FEATURES_FILE])
    findings.error(
        at, "unknown-file", "a catalog has no such file", hint or f"it has {FEATURES_FILE} and plans/*.yaml"
    )
