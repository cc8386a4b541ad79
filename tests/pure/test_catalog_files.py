"""A folder on disk that is to be a catalog: what is read of it, and the sentence when it cannot be."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from policies import limits
from service import catalog_files
from service.cli.program import metergate


def test_every_catalog_file_is_read_and_nothing_else(tmp_path):
    for name in (
        "features.yaml", "plans/pro.yaml", "guards/a.cedar", "plans/old.yml", "README.md", "notes.txt",
        ".git/config.yaml", "plans/.pro.yaml.swp", ".hidden.yaml",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {name}")
    assert catalog_files.read(tmp_path) == {
        name: f"# {name}" for name in ("features.yaml", "guards/a.cedar", "plans/old.yml", "plans/pro.yaml")
    }


def missing(folder: Path) -> Path:
    return folder / "nowhere"


def a_file(folder: Path) -> Path:
    (folder / "plan.yaml").write_text("plan: pro")
    return folder / "plan.yaml"


def empty(folder: Path) -> Path:
    (folder / "README.md").write_text("nothing yet")
    return folder


def latin(folder: Path) -> Path:
    (folder / "features.yaml").write_bytes("# caf\u00e9".encode("latin-1"))
    return folder


def too_large(folder: Path) -> Path:
    with (folder / "features.yaml").open("w") as file:
        os.truncate(file.fileno(), limits.CATALOG_BYTES + 1)
    return folder


def too_many(folder: Path) -> Path:
    for number in range(limits.CATALOG_FILES + 1):
        (folder / f"p{number}.yaml").touch()
    return folder


REFUSED = [
    (missing, "There is no folder"),
    (a_file, "There is no folder"),
    (empty, "has no catalog files (.yaml, .yml, .cedar)"),
    (latin, "features.yaml is not UTF-8 (byte 5)"),
    (too_large, "is too large for a catalog: at most 2,000 files and 32,000,000 bytes"),
    (too_many, "is too large for a catalog: at most 2,000 files and 32,000,000 bytes"),
]


@pytest.mark.parametrize(("made", "sentence"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_folder_that_is_no_catalog_is_refused_in_a_sentence(made, sentence, tmp_path):
    with pytest.raises(catalog_files.CatalogFilesError) as refused:
        catalog_files.read(made(tmp_path))
    assert sentence in str(refused.value)


@pytest.mark.parametrize("command", ["check", "publish"])
def test_the_command_line_says_so_too(command, tmp_path):
    words = ["catalog", command, str(tmp_path / "nowhere")]
    done = CliRunner().invoke(metergate, words + ["--message", "first"] * (command == "publish"))
    assert done.exit_code == 2
    assert "nowhere" in done.output
    assert "Traceback" not in done.output
