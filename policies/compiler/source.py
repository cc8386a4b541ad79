"""What the files of a catalog say, read strictly and kept with the place of every name and value."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from policies.compiler import case_fields, document, paths, terms
from policies.compiler.case_fields import TABLE, CaseSource
from policies.compiler.fields import (
    ADDON,
    FEATURES,
    INVARIANTS,
    PLAN,
    AddonSource,
    FeatureSource,
    FeaturesSource,
    InvariantsSource,
    PlanSource,
)
from policies.compiler.findings import Findings, Place
from policies.compiler.known import Taken
from policies.compiler.records import Record, RecordOf
from policies.compiler.terms import SwitchSource, TermsSource, ValueSource
from policies.compiler.terms_fields import ADDON_TERMS, PLAN_TERMS, AnyTerms, TermsNode
from policies.model import AddonVersion, PlanVersion

R = TypeVar("R", bound=Record)
S = TypeVar("S", PlanSource, AddonSource)
V = TypeVar("V", PlanVersion, AddonVersion)
ById = Mapping[str, FeatureSource | None]
"""The features of features.yaml; None where one could not be read."""


class SoldFile(msgspec.Struct, Generic[S, V], frozen=True, kw_only=True):
    """One file in plans/ or addons/, as far as it could be read; or what is taken over instead."""

    path: str
    stem: str
    """The file's name, which is the id of what it sells."""
    said: S | None = None
    terms: dict[str, TermsSource | None] = msgspec.field(default_factory=dict)
    """By feature id, in the order of the file; None where the terms could not be read."""
    taken: V | None = None
    """What the very same text was compiled to before; then nothing is read."""


PlanFile = SoldFile[PlanSource, PlanVersion]
AddonFile = SoldFile[AddonSource, AddonVersion]


class TableFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file in tests/, as far as it could be read."""

    cases: tuple[CaseSource, ...]
    values: dict[Place, SwitchSource | ValueSource | None]
    """What stands as `value` in overrides and expectations, by place; None where it could not be read."""


class CatalogSource(msgspec.Struct, frozen=True, kw_only=True):
    """All files, in the order of their paths."""

    features: FeaturesSource | None
    plans: tuple[PlanFile, ...] = ()
    addons: tuple[AddonFile, ...] = ()
    invariants: InvariantsSource | None = None
    tables: tuple[TableFile, ...] = ()
    guards: dict[str, str] = {}
    """Path → text of guards/*.cedar, unread."""

    @property
    def plan_ids(self) -> set[str]:
        """Every id that a plan has or, by its file's name, will have once the file can be read."""
        ids = {file.said.plan for file in self.plans if file.said and file.said.plan}
        return ids | {file.stem for file in self.plans}

    @property
    def addon_ids(self) -> set[str]:
        """The same of add-ons."""
        ids = {file.said.addon for file in self.addons if file.said and file.said.addon}
        return ids | {file.stem for file in self.addons}


def read(files: Mapping[str, str], findings: Findings, taken: Taken) -> CatalogSource:
    """Reads path → text. Every file is read as far as it goes; what is wrong stands in `findings`.

    Files of what is `taken` over are not read. Bytes that were no UTF-8 should come as lone
    surrogates (`errors="surrogateescape"`): they are pointed at.
    """
    if not paths.fits(files, findings):
        return CatalogSource(features=None)
    found = paths.by_folder(files, findings)
    if paths.FEATURES not in files:
        hint = "it lists everything that plans can give"
        findings.error(Place(path=paths.FEATURES), "missing-file", "the file is missing", hint)
    if not found[paths.PLANS]:
        hint = "write the first one, such as plans/free.yaml"
        findings.error(Place(path="plans/"), "missing-file", "the catalog has no plan", hint)
    reader = _Reader(files, findings, taken)
    features = reader.record(paths.FEATURES, FEATURES, paths.FEATURES)
    known = (features.features if features else None) or {}
    return CatalogSource(
        features=features,
        plans=tuple(reader.plan(path, known) for path in found[paths.PLANS]),
        addons=tuple(reader.addon(path, known) for path in found[paths.ADDONS]),
        invariants=reader.record(paths.INVARIANTS, INVARIANTS, paths.INVARIANTS),
        tables=tuple(reader.table(path, known) for path in found[paths.TESTS]),
        guards={path: files[path] for path in found[paths.GUARDS]},
    )


class _Reader:
    """Reads one file after the other."""

    def __init__(self, files: Mapping[str, str], findings: Findings, taken: Taken) -> None:
        self._files, self._findings, self._taken = files, findings, taken

    def record(self, path: str, form: RecordOf[R], name: str) -> R | None:
        """The fields of a file; None if there is no such file, or if it is no group of fields."""
        root = document.read(path, self._files[path], self._findings) if path in self._files else None
        return form.read(root, name, root.at, self._findings) if root else None

    def plan(self, path: str, known: ById) -> PlanFile:
        """A file in plans/."""
        if path in self._taken.plans:
            return PlanFile(path=path, stem=paths.stem(path), taken=self._taken.plans[path])
        plan = self.record(path, PLAN, "the plan")
        said = self._terms(plan.features if plan else None, known, PLAN_TERMS)
        return PlanFile(path=path, stem=paths.stem(path), said=plan, terms=said)

    def addon(self, path: str, known: ById) -> AddonFile:
        """A file in addons/."""
        if path in self._taken.addons:
            return AddonFile(path=path, stem=paths.stem(path), taken=self._taken.addons[path])
        addon = self.record(path, ADDON, "the add-on")
        said = self._terms(addon.features if addon else None, known, ADDON_TERMS)
        return AddonFile(path=path, stem=paths.stem(path), said=addon, terms=said)

    def table(self, path: str, known: ById) -> TableFile:
        """A file in tests/."""
        table = self.record(path, TABLE, "a file of table tests")
        cases = (table.cases if table else None) or ()
        return TableFile(
            cases=cases,
            values={
                said.node.at: terms.value(said, feature_id, feature, self._findings)
                for case in cases
                for feature_id, said in case_fields.values(case)
                if (feature := known.get(feature_id)) is not None
            },
        )

    def _terms(
        self, said: dict[str, TermsNode] | None, known: ById, form: AnyTerms
    ) -> dict[str, TermsSource | None]:
        return {
            feature_id: terms.read(node, feature_id, known.get(feature_id), form, self._findings)
            for feature_id, node in (said or {}).items()
        }
