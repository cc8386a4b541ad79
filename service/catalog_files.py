"""Catalog files on disk: read whole, within bounds, never written."""

from pathlib import Path

from policies import limits

KEPT = (".yaml", ".yml", ".cedar")
"""What a catalog is made of; a README beside it is none of its business."""


class CatalogFilesError(Exception):
    """The folder cannot be read as a catalog; one sentence says why."""


def read(folder: Path) -> dict[str, str]:
    """Path (relative, with `/`) to text of every catalog file under a folder.

    Errors: CatalogFilesError for a folder that is missing or too large, or a file that is no UTF-8.
    """
    if not folder.is_dir():
        raise CatalogFilesError(f"There is no folder {folder}.")
    files: dict[str, str] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.suffix not in KEPT or any(part.startswith(".") for part in name.parts) or not path.is_file():
            continue
        size += path.stat().st_size
        if len(files) >= limits.CATALOG_FILES or size > limits.CATALOG_BYTES:
            raise CatalogFilesError(
                f"{folder} is too large for a catalog: at most {limits.CATALOG_FILES:,} files "
                f"and {limits.CATALOG_BYTES:,} bytes."
            )
        try:
            files[name.as_posix()] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CatalogFilesError(f"{path} is not UTF-8 (byte {error.start}).") from error
        except OSError as error:
            raise CatalogFilesError(f"{path} cannot be read: {error.strerror}.") from error
    if not files:
        raise CatalogFilesError(f"{folder} has no catalog files ({', '.join(KEPT)}).")
    return files
