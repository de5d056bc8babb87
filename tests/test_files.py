"""Atomic writes: the old file or the new one, never half of one, and nothing left over."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidlib.files import settings_hash, write_atomically, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_writes_and_replaces_in_folders_that_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "note.txt"
    write_text(path, "first")
    write_text(path, "zwölf")
    assert path.read_bytes() == "zwölf".encode() and names(path.parent) == ["note.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_temporary_file_keeps_the_suffix_and_the_folder(tmp_path):
    seen = []

    def write(path):
        seen.append(path)
        path.write_bytes(b"x")

    write_atomically(tmp_path / "table.csv", write)
    assert seen[0].suffix == ".csv" and seen[0].parent == tmp_path and seen[0].name.startswith(".")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_writer_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "state.pt"

    def write(temporary):
        temporary.write_bytes(b"half of the n")
        raise error("stop")

    with pytest.raises(error):
        write_atomically(path, write)
    assert names(tmp_path) == []
    path.write_bytes(b"old")
    with pytest.raises(error):
        write_atomically(path, write)
    assert path.read_bytes() == b"old" and names(tmp_path) == ["state.pt"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "state.txt"
    path.write_text("old")
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom reidlib.files import write_atomically\n"
        "def write(path):\n    path.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomically(Path(sys.argv[1]), write)"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL and path.read_text() == "old"
    write_text(path, "new")  # left-overs of the killed one are not in the way
    assert path.read_text() == "new"


def test_json_round_trip_and_refusals(tmp_path):
    path = tmp_path / "settings.json"
    value = {"a": [1, 2.5, None], "b": {"c": "ü"}}
    write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value and path.read_text(encoding="utf-8").endswith("\n")
    for bad in ({"loss": float("nan")}, {"loss": float("inf")}):
        with pytest.raises(ValueError):
            write_json(path, bad)
    with pytest.raises(TypeError):
        write_json(path, {"where": tmp_path})
    assert json.loads(path.read_text(encoding="utf-8")) == value and names(tmp_path) == ["settings.json"]


VALUES = st.integers() | st.floats(allow_nan=False) | st.text(max_size=4) | st.lists(st.integers(), max_size=3)
PLAIN = st.dictionaries(st.text(max_size=4), VALUES, max_size=5)


@given(PLAIN)
def test_hash_does_not_depend_on_the_order_of_keys(settings):
    turned = dict(reversed(settings.items()))
    assert settings_hash(settings) == settings_hash(turned) and len(settings_hash(turned)) == 64
    assert settings_hash({"outer": settings, "z": 1}) == settings_hash({"z": 1, "outer": turned})


@given(PLAIN, PLAIN)
def test_hash_tells_settings_apart(one, two):
    assert (settings_hash(one) == settings_hash(two)) == (json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True))
