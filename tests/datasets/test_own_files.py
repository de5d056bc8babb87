"""Own data in files of people: folders, tables, the split, and every problem with its rows."""

import numpy as np
import pandas as pd
import pytest
from own_samples import write_boxes, write_events, write_pictures

from reidlib.datasets import load_dataset
from reidlib.datasets.own_checks import Problems, read_table, row_text
from reidlib.datasets.own_data import OwnSettings, build, check, find, main
from reidlib.events import IDEAL, REALISTIC, simulate


def crowd(root, people=("ann", "bob", "cid", "dot"), cameras=("back", "front")):
    """People under cameras, four pictures each."""
    return {(p, c): write_pictures(root / p / c, seed=10 * i + j) for i, p in enumerate(people) for j, c in enumerate(cameras)}


def built(data, tmp_path, **options):
    return build(data, OwnSettings(**options), tmp_path / "own.h5", workers=1)


def found(data, severity=None, **options):
    table = check(data, **options)
    return table if severity is None else table[table["severity"] == severity].reset_index(drop=True)


def test_a_folder_of_pictures_becomes_these_tracklets(tmp_path):
    pictures = crowd(tmp_path / "data")
    store = built(tmp_path / "data", tmp_path)
    index = store.index
    assert index["key"].tolist() == [f"p{person:04d}/c{camera}/t0" for person in range(4) for camera in (0, 1)]
    assert index["source"].iloc[0] == "ann/back" and index["dataset"].unique().tolist() == ["own"]
    assert index["subset"].value_counts().to_dict() == {"train": 4, "query": 2, "gallery": 2}
    assert set(index.loc[index["subset"] == "query", "camera"]) == {0}
    assert (index["width"] == 8).all() and (index["height"] == 16).all() and (index["frames"] == 4).all()
    for row in index.itertuples():
        facts = store.attributes(row.key)
        np.testing.assert_array_equal(store.frames(row.key), pictures[facts["person"], facts["camera"]])
        assert facts["frame_times"] == [0, 40_000, 80_000, 120_000]  # 25 pictures per second
        assert row.duration == 0.12 and row.events > 0


def test_events_of_pictures_are_simulated_at_the_given_rate(tmp_path):
    crowd(tmp_path / "data")
    slow, fast = (build(tmp_path / "data", OwnSettings(fps=fps), tmp_path / f"{fps}.h5", 1) for fps in (10, 100))
    key = slow.index["key"].iloc[0]
    assert slow.interval(key) == (0, 300_000) and fast.interval(key) == (0, 30_000)
    again = build(tmp_path / "data", OwnSettings(fps=10), tmp_path / "again.h5", 1)
    assert again.events(key) == slow.events(key) and again.data_hash == slow.data_hash
    assert REALISTIC != IDEAL and len(simulate(slow.frames(key), 10, IDEAL)) != len(slow.events(key))


def test_tracklets_folders_subsets_and_folders_without_cameras(tmp_path):
    for person in ("1", "2", "3", "4"):
        for tracklet in ("a", "b"):
            write_pictures(tmp_path / "data" / person / "cam" / tracklet)
    index = built(tmp_path / "data", tmp_path).index  # one camera: none
    assert index["key"].tolist() == [f"p000{person}/t{n}" for person in (1, 2, 3, 4) for n in (0, 1)]
    assert set(index["camera"]) == {-1} and index["subset"].value_counts().to_dict() == {"train": 4, "query": 2, "gallery": 2}
    (tmp_path / "data").rename(tmp_path / "train")
    for person in ("7", "8"):
        for camera in ("1", "2"):
            write_events(tmp_path / "all" / ("query" if camera == "2" else "gallery") / person / camera / "a.h5")
    (tmp_path / "train").rename(tmp_path / "all" / "train")
    assert found(tmp_path / "all", "error").empty
    index = built(tmp_path / "all", tmp_path).index
    assert index[index["subset"] == "query"].set_index("person")["camera"].to_dict() == {7: 1, 8: 1}  # numbered: "cam" is no number
    flat = built(tmp_path / "all", tmp_path, cameras=False).index
    assert set(flat["camera"]) == {-1} and len(flat) == len(index)


def test_recordings_keep_every_event_from_time_zero(tmp_path):
    files = [(p, c) for p in ("1", "2", "3", "4") for c in ("1", "2")]
    events = {(p, c): write_events(tmp_path / "data" / p / c / "walk.h5", seed=int(p + c), start=7_000_000) for p, c in files}
    store = built(tmp_path / "data", tmp_path)
    for row in store.index.itertuples():
        original, seen = events[str(row.person), str(row.camera)], store.events(row.key)
        np.testing.assert_array_equal(seen.t, original.t - original.t[0])
        np.testing.assert_array_equal(np.stack([seen.x, seen.y, seen.p]), np.stack([original.x, original.y, original.p]))
    assert store.index["frames"].sum() == 0
    assert any(
        "without video" in what and "METHOD=s3ce_net" in said for what, said in found(tmp_path / "data")[["what", "suggestion"]].values
    )
    tight = built(tmp_path / "data", tmp_path, tighten=True)
    assert (tight.index["height"] == 2 * tight.index["width"]).all() and tight.index["events"].tolist() == store.index["events"].tolist()


def table_of(root, lines, header="person,camera,path,subset\n"):
    return write_boxes(root / "list.csv", [(line,) for line in lines], header)


@pytest.mark.parametrize("parquet", [False, True])
def test_a_table_of_files_becomes_these_tracklets(tmp_path, parquet):
    rows = []
    for person in (3, 5, 7, 9):
        for camera in (1, 2):
            write_pictures(tmp_path / f"{person}-{camera}", seed=person)
            if camera == 2:
                rows.append((person, camera, f"{person}-2", "train" if person < 6 else "gallery"))
            else:
                rows += [(person, camera, f"{person}-1/{i}.png", "train" if person < 6 else "query") for i in (3, 1, 2)]
    path = table_of(tmp_path, [",".join(map(str, row)) for row in rows])
    if parquet:
        path = tmp_path / "list.parquet"
        pd.DataFrame(rows, columns=["person", "camera", "path", "subset"]).to_parquet(path)
    store = built(path, tmp_path)
    assert store.index["key"].tolist() == [f"p{person:04d}/c{camera}/t0" for person in (3, 5, 7, 9) for camera in (1, 2)]
    assert store.index["subset"].tolist() == ["train"] * 4 + ["query", "gallery"] * 2
    assert store.index["frames"].tolist() == [3, 4] * 4
    folder = store.frames("p0003/c2/t0")  # the same seed: the same pictures
    np.testing.assert_array_equal(store.frames("p0003/c1/t0"), folder[[2, 0, 1]])  # in the order of the rows


def test_every_problem_of_a_table_is_named_with_its_row(tmp_path):
    for name in ("a", "b", "c", "d"):
        write_pictures(tmp_path / name)
    (tmp_path / "c" / "2.png").write_bytes(b"")
    (tmp_path / "d" / "3.png").write_bytes(b"no picture")
    (tmp_path / "note.doc").write_text("x")
    lines = [
        "1,1,a,train", "", "1,2,a,train", ",1,b,train", "2,1,gone,train", "3,1,b,probe", "4,1,c,query", "4,2,d,gallery",
        "5,1,note.doc,gallery", "6,1,b", "4,3,,gallery",
    ]  # fmt: skip
    path = table_of(tmp_path, lines)
    errors = found(path, "error")
    said = dict(zip(errors["what"], errors["where"], strict=True))
    expected = {
        "the same file twice": "rows 2, 4, 5, 7", "no person": "row 5", "no such file: gone": "row 6", "unknown subset 'probe'": "row 7",
        "empty files: 2.png (c)": "row 8", "a file of an unknown kind": "row 10", "rows without the 4 cells of the table": "row 11",
        "no path": "row 12",
    }  # fmt: skip
    assert {what: where for what, where in said.items() if "3.png" not in what and "alone" not in what} == {
        what: f"list.csv, {rows}" for what, rows in expected.items()
    }
    assert [where for what, where in said.items() if "3.png cannot be read as a picture" in what] == ["list.csv, row 9"]
    assert all(errors["suggestion"].str.len() > 5)
    with pytest.raises(
        ValueError, match=r"list.csv has 9 errors:(?s:.*)row 11(?s:.*)all of them: python -m reidlib.datasets.own_data check"
    ):
        built(path, tmp_path)


def test_text_that_cannot_be_read_is_named_with_its_line(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("person,path\nann,a\nrené,b\n".encode("latin-1"))
    (error,) = found(path, "error").to_dict("records")
    assert (error["where"], error["what"], error["suggestion"]) == (
        "latin.csv, row 3",
        "is not UTF-8 text: byte 0xe9",
        "save it as CSV UTF-8",
    )
    path.write_text('person,path\nann,"a\n')
    assert "is no CSV" in found(path, "error")["what"].iloc[0]
    path.write_text("")
    assert "holds no rows" in found(path, "error")["what"].iloc[0]
    path.write_text("name,file\nann,a\n")
    assert "columns name, file are no known table" in found(path, "error")["what"].iloc[0]
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    assert "cannot be read as parquet" in found(tmp_path / "cut.parquet", "error")["what"].iloc[0]
    (tmp_path / "a.avi").write_bytes(b"x")
    assert "neither a folder nor a table" in found(tmp_path / "a.avi", "error")["what"].iloc[0]
    with pytest.raises(FileNotFoundError, match=r"no data at .*nowhere"):
        check(tmp_path / "nowhere")


def test_cells_keep_their_lines_and_other_delimiters_are_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffPerson;Path\r\n ann ; "x;y"\r\n\r\nbob;z\r\n'.encode())
    table = read_table(path, Problems())
    assert table.to_dict("list") == {"person": ["ann", "bob"], "path": ["x;y", "z"], "row": [2, 4]}
    assert row_text([]) == "" and row_text([3]) == "row 3" and row_text([3, 3, 9]) == "rows 3, 9"
    assert row_text(range(1, 8)) == "rows 1, 2, 3, 4, 5, ... (7 in all)"


def test_one_camera_no_match_and_one_person(tmp_path):
    crowd(tmp_path / "one", cameras=("front",))
    assert "no matches: 0 people were seen twice" in found(tmp_path / "one", "error")["what"].iloc[0]
    assert any("one camera only (front)" in what for what in found(tmp_path / "one", "warning")["what"])
    crowd(tmp_path / "few", people=("ann", "bob"))
    write_pictures(tmp_path / "few" / "cid" / "front")
    warned = found(tmp_path / "few", "warning")["what"]
    assert any(what.startswith("1 ids without a match, not seen under two cameras: cid") for what in warned)
    assert "3 people are too few to train with two and test with two" in found(tmp_path / "few", "error")["what"].iloc[0]
    index = built(tmp_path / "few", tmp_path, test_share=1).index
    assert index["subset"].value_counts().to_dict() == {"gallery": 3, "query": 2}
    crowd(tmp_path / "single", people=("ann",))
    assert "one person alone" in set(found(tmp_path / "single", "error")["what"])
    write_pictures(tmp_path / "few" / "dot")
    assert any("1 of 6 tracklets without a camera, the first: dot" in what for what in found(tmp_path / "few", "error")["what"])


def test_a_given_division_is_kept_and_checked(tmp_path):
    names = [f"{p}{c}" for p in "abc" for c in "12"]
    for name in names:
        write_pictures(tmp_path / name)
    lines = [
        f"{name[0]},{name[1]},{name},{subset}"
        for name, subset in zip(names, ["train", "query", "query", "query", "test", "test"], strict=True)
    ]
    errors = found(table_of(tmp_path, lines), "error")
    lost = "query without a match: {} is not in the gallery under another camera"
    assert list(zip(errors["what"], errors["where"], strict=True)) == [
        ("people both in train and in test: a", "list.csv, row 3"),
        (lost.format("a"), "list.csv, row 3"),
        (lost.format("b"), "list.csv, row 4"),
        (lost.format("b"), "list.csv, row 5"),
    ]
    lines[-1] = lines[-1].removesuffix("test")
    assert "some tracklets have a subset, these have none" in set(found(table_of(tmp_path, lines), "error")["what"])


def test_the_split_is_a_function_of_the_seed_and_the_people(tmp_path):
    people = [f"p{i}" for i in range(8)]
    crowd(tmp_path / "data", people)

    def split(**options):
        return [row["subset"] for row in find(tmp_path / "data", OwnSettings(**options), Problems()).rows]

    assert split(seed=0) == split(seed=0) and len({tuple(split(seed=seed)) for seed in range(3)}) > 1
    assert [split(test_share=share).count("query") for share in (0.25, 0.5, 0.9, 1)] == [2, 4, 6, 8]  # two people are left to train
    assert split(test_share=0.9).count("train") == 4


def test_empty_folders_single_pictures_and_loose_files(tmp_path):
    crowd(tmp_path / "data")
    (tmp_path / "data" / "eve").mkdir()
    write_pictures(tmp_path / "data" / "fay" / "front", count=1)
    write_pictures(tmp_path / "data")
    (tmp_path / "data" / "ann" / "front" / "note.doc").write_text("x")
    warned = found(tmp_path / "data", "warning").set_index("where")["what"].to_dict()
    assert "no usable file" in warned["eve"] and "one picture alone" in warned["fay/front"] and "'.doc'" in warned["ann/front/note.doc"]
    assert "outside a person's folder: 1.png, 2.png" in found(tmp_path / "data", "error")["what"].iloc[0]
    (tmp_path / "empty").mkdir()
    assert "holds no people" in found(tmp_path / "empty", "error")["what"].iloc[0]


def test_changed_data_is_noticed_and_unchanged_data_is_not_built_again(tmp_path):
    crowd(tmp_path / "data")
    first = load_dataset("own", data=tmp_path / "data", cache_dir=tmp_path, workers=1, quiet=True)
    same = load_dataset("own", data=tmp_path / "data", cache_dir=tmp_path, workers=1, quiet=True)
    assert same.path == first.path and same.cache_key == first.cache_key
    write_pictures(tmp_path / "data" / "ann" / "back", count=5)
    assert load_dataset("own", data=tmp_path / "data", cache_dir=tmp_path, workers=1, quiet=True).cache_key != first.cache_key
    one = load_dataset(
        "own", data=tmp_path / "data", cache_dir=tmp_path, workers=1, quiet=True, options={"test_share": 1.0}, subsets=("query", "gallery")
    )
    assert set(one.index["subset"]) == {"query", "gallery"}
    with pytest.raises(ValueError, match="no train tracklets"):
        load_dataset("own", data=tmp_path / "data", cache_dir=tmp_path, workers=1, quiet=True, options={"test_share": 1.0})
    with pytest.raises(ValueError, match='"own" needs data='):
        load_dataset("own", cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"test_share": 0}, "leaves nobody to test"), ({"fps": 0}, "fps must be from 0.001"), ({"shortest": 20}, "must not be above longest"),
     ({"max_gap": -1}, "max_gap must be from 0"), ({"first_pixel": 2}, "first_pixel must be from 0 to 1, got 2")],
)  # fmt: skip
def test_settings_say_their_limits(options, message):
    with pytest.raises(ValueError, match=message):
        OwnSettings(**options)


def test_the_command_lists_problems_and_ends_with_one_for_errors(tmp_path, capsys):
    crowd(tmp_path / "data")
    assert main(["check", str(tmp_path / "data")]) == 0
    assert "assumed" in (said := capsys.readouterr().out) and said.endswith("0 errors, 1 warnings\n")
    assert main(["check", str(tmp_path / "data"), "-o", "fps=30", "-o", "cameras=yes"]) == 0
    assert capsys.readouterr().out == "0 errors, 0 warnings\n"
    with pytest.raises(SystemExit, match="2"):
        main(["check", str(tmp_path / "data"), "-o", "rate=3"])
    assert "unknown option 'rate'; legal: test_share" in capsys.readouterr().err
    (tmp_path / "data" / "ann" / "back" / "1.png").write_bytes(b"")
    assert main(["check", str(tmp_path / "data")]) == 1
