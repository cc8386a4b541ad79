"""Lets the simulator, which is written for Python 3.14, run on 3.13.

It relies on two things of 3.14: annotations that are not evaluated, and `except A, B:` without parentheses.
Both can be given to its source before it is compiled. On 3.14 nothing is done.
"""

import __future__

import importlib.abc
import importlib.machinery
import re
import sys

_EXCEPT = re.compile(r"^(\s*except) ([A-Za-z_.]+(?:, [A-Za-z_.]+)+):", re.MULTILINE)
_PACKAGES = ("seahaven", "seahaven_stripe_world")


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname):
        """From the source each time: what lies compiled beside it was made by others."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def source_to_code(self, data, path, *, _optimize=-1):
        source = _EXCEPT.sub(r"\1 (\2):", data.decode())
        lazy = __future__.annotations.compiler_flag
        return compile(source, path, "exec", flags=lazy, dont_inherit=True, optimize=_optimize)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):  # noqa: ARG002 - as Python calls it
        if fullname.partition(".")[0] not in _PACKAGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def allow() -> None:
    """To be called before the simulator is imported."""
    if sys.version_info < (3, 14):
        sys.meta_path.insert(0, _Finder())
