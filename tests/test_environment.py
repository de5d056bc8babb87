"""environment.yml, pyproject.toml, the lock and the Makefile name the same packages, Pythons and files."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = Path(os.environ.get("REIDLIB_LOCK", ROOT / "requirements.txt"))  # another: make test-oldest, make test-newest
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = [line for lines in PROJECT["project"].get("optional-dependencies", {}).values() for line in lines]
REQUIRED = [*PROJECT["project"]["dependencies"], *EXTRAS, *PROJECT["dependency-groups"]["test"]]
TEXT_FILES = ("requirements.txt", "pyproject.toml", "environment.yml", "Makefile", "Snakefile", ".ci/run")


def locked() -> dict[str, list[Requirement]]:
    """Lines of the lock by package; a package may stand there once per Python version."""
    found: dict[str, list[Requirement]] = {}
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def test_the_lock_pins_exact_versions():
    for requirements in locked().values():
        for requirement in requirements:
            assert [specifier.operator for specifier in requirement.specifier] == ["=="], str(requirement)
            assert requirement.url is None, f"{requirement} is tied to an address"


@pytest.mark.parametrize("line", REQUIRED)
def test_every_dependency_is_locked_at_a_version_it_allows(line):
    wanted = Requirement(line)
    pins = locked().get(canonicalize_name(wanted.name))
    assert pins, f"{wanted.name} of pyproject.toml is not in {LOCK.name}: run make lock"
    for pin in pins:
        pinned = next(iter(pin.specifier)).version
        assert wanted.specifier.contains(pinned, prereleases=True), f"{pin} is not what pyproject.toml asks for ({line}): run make lock"


def test_the_installed_packages_are_those_of_the_lock():
    wrong = []
    for name, pins in locked().items():
        for pin in pins:
            if pin.marker is None or pin.marker.evaluate():
                try:
                    found = version(name)
                except PackageNotFoundError:
                    found = "nothing"
                if not pin.specifier.contains(found if found != "nothing" else "0.dev0", prereleases=True):
                    wrong.append(f"{pin}, installed: {found}")
    assert not wrong, "run make install"


def test_environment_yml_installs_the_lock_and_the_package_on_a_supported_python():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert environment["name"] == PROJECT["project"]["name"]
    assert pip == ["-r requirements.txt", "-e ."]
    assert "pip" in conda
    (python,) = (entry.partition("=")[2] for entry in conda if entry.startswith("python"))
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(python)


def test_python_versions_agree_everywhere():
    oldest = re.fullmatch(r">=(3\.\d+)", PROJECT["project"]["requires-python"])[1]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"--python-version {oldest}" in makefile
    assert f"({oldest.replace('.', ', ')}) <= sys.version_info" in makefile
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert f"python={oldest}" in (ROOT / "environment.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TEXT_FILES)
def test_no_package_index_is_named(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"index-url\s+\S|--find-links|--trusted-host|https?://|file://|@ ", text.replace("--no-emit-index-url", "")), name


def test_licence_and_citation_agree_with_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == PROJECT["project"]["license"] == "MIT"
    assert "The reidlib developers" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert citation["version"] == PROJECT["project"]["version"]
    titles = " ".join(reference["title"] for reference in citation["references"])
    papers = ("S3CE-Net", "Sparse-Dense Complementary Learning", "Pyramid Spatial-Temporal Aggregation", "via Event Anonymization")
    for paper in (*papers, "SpikingJelly"):
        assert paper in titles


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=["rules", "format"])
def test_ruff_is_clean(arguments):
    command = [sys.executable, "-m", "ruff", *arguments, "reidlib", "tests", "benchmarks"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert not found.returncode, found.stdout + found.stderr
