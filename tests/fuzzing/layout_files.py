"""The public sets' list and .mat files, each in a small replica of its official layout, Event-ReId's windows, and SDCL's chunks."""

from functools import partial
from pathlib import Path

import h5py
import numpy as np
import replicas
from reading import Format
from scipy.io import savemat
from test_evreid import write_part

from reidlib.datasets import event_reid, evreid, ilids_vid, ls_vid, mars, prid2011, sdcl_events
from reidlib.datasets.video_events import fingerprint


def write_evreid(folder: Path) -> None:
    """EvReID: two parts and a table of queries."""
    write_part(folder, "train", [(1, 1), (1, 2), (2, 1), (2, 2)])
    write_part(folder, "test", [(3, 1), (3, 2), (4, 1), (4, 3), (-1, 1)])
    savemat(folder / "rgb" / "info" / "query_IDX.mat", {"query_IDX": np.array([[1, 3]])})


def write_windows(folder: Path) -> None:
    """Event-ReId's public sample: windows of four people, in lists."""
    lists = {"train": [(1, 1), (2, 2)], "query": [(1, 1), (3, 1)], "gallery": [(1, 2), (3, 2)]}
    for subset, members in lists.items():
        part = "train" if subset == "train" else "test"
        (folder / part).mkdir(parents=True, exist_ok=True)
        names = [f"{part}/{person:03d}_c{camera}_{100 + camera}.txt" for person, camera in members]
        for number, name in enumerate(names):
            rng = np.random.default_rng(number)
            t = 4_000_000 + np.sort(rng.random(40)) * 333
            lines = [f"{a:.4f} {rng.integers(300, 340)} {rng.integers(200, 280)} {rng.integers(0, 2)}\n" for a in t]
            (folder / name).write_text("".join(lines))
        text = "".join(f"{name} {person}\n" for name, (person, _) in zip(names, members, strict=True))
        (folder / f"{subset}_list.txt").write_text(text)


def chunk_values() -> dict[str, np.ndarray]:
    """A chunk of SDCL's events."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(7_000_000, 7_040_000, 60))
    columns = {"x": rng.integers(1, 17, 60), "y": rng.integers(1, 33, 60), "timestamp": t, "polarity": rng.choice([-1, 1], 60)}
    values = {f"section_event_{name}": column.astype(float)[None] for name, column in columns.items()}
    return {"start_timestamp": np.array([[7e6]]), **values}


def write_chunk(folder: Path, compressed: bool) -> None:
    """As MATLAB saves it with -v7 (compressed) or -v6."""
    savemat(folder / "chunk.mat", chunk_values(), do_compression=compressed)


def write_hdf5_table(folder: Path) -> None:
    """A table of a list file as MATLAB saves it with -v7.3: behind 512 bytes of its own."""
    replicas.mars(folder)
    with h5py.File(folder / "info" / "tracks_test_info.mat", "w", userblock_size=512) as file:
        rows = 1 + np.cumsum([0, *(count for _, _, count in replicas.MARS_TEST)])
        table = [(a, b - 1, person, camera) for a, b, (person, camera, _) in zip(rows[:-1], rows[1:], replicas.MARS_TEST, strict=True)]
        file.create_dataset("track_test_info", data=np.array(table, np.float64).T, compression="gzip")


def read_rows(module, settings, folder: Path) -> list[tuple]:
    """What a set's module makes of the folder, as tuples; every row names its files."""
    rows = module.rows(folder, settings)
    fingerprint(folder, rows)  # as a build does first: it looks for every frame
    assert rows and all(row["files"] and row["subset"] in ("train", "query", "gallery", "query+gallery") for row in rows)
    return [(row["split"], row["key"], row["subset"], row["person"], row["camera"], tuple(row["files"])) for row in rows]


def read_event_reid(folder: Path) -> list[tuple]:
    """Index and digest of the store of all windows."""
    event_reid._read_whole.cache_clear()  # the same path holds something else now
    (folder / "store.h5").unlink(missing_ok=True)
    with event_reid.build(folder, event_reid.EventReIdSettings(), folder / "store.h5", workers=1) as store:
        events = [store.events(key) for key in store.index["key"]]
        facts = store.index[["key", "subset", "person", "camera"]].itertuples(index=False, name=None)
        return [(*row, len(one), int(one.t.sum()), int(one.x.sum())) for row, one in zip(facts, events, strict=True)]


def read_chunk(folder: Path) -> tuple:
    start, events = sdcl_events.read_chunk(folder / "chunk.mat")
    assert events.shape[1] == 4 and (np.diff(events[:, 2]) >= 0).all() and np.isin(events[:, 3], (0, 1)).all()
    return start, events.tolist()


def line_end(cut: bytes, whole: bytes) -> bool:
    """Cuts behind a whole row of text, or inside the last word of it."""
    return cut.endswith(b"\n") or b" " in cut[cut.rfind(b"\n") :] or whole[len(cut) : len(cut) + 1] == b"\n"


def layout(module, settings, write, file: str, named: tuple[str, ...] = (), **facts) -> Format:
    """A file of a set's official layout. Errors name it, a missing file, or the part that contradicts it."""
    return Format(write, file, partial(read_rows, module, settings), named=(Path(file).stem, *named), **facts)


MARS, TABLE = partial(layout, mars, mars.MarsSettings(), replicas.mars), ("track_train_info", "track_test_info", "listed images")
LS_VID = partial(layout, ls_vid, ls_vid.LsVidSettings(), replicas.ls_vid)
EVREID = partial(layout, evreid, evreid.EvReIdSettings(), write_evreid, named=("tracks_", "no picture at"))
ILIDS = "train-test people splits/train_test_splits_ilidsvid.mat"

FORMATS = {
    "prid2011 splits": layout(prid2011, prid2011.Prid2011Settings(None), replicas.prid2011, "splits_prid2011.json", ("person",)),
    "ilids_vid splits": layout(ilids_vid, ilids_vid.IlidsVidSettings(None), replicas.ilids_vid, ILIDS),
    "mars names": MARS("info/test_name.txt", TABLE),
    "mars tracks": MARS("info/tracks_test_info.mat", TABLE),
    "mars tracks of version 7.3": layout(mars, mars.MarsSettings(), write_hdf5_table, "info/tracks_test_info.mat", TABLE),
    "mars queries": MARS("info/query_IDX.mat", TABLE),
    "ls_vid list": LS_VID("list_sequence/list_seq_train.txt", ("both lists", "no folder", "holds no image"), unseen=line_end),
    "ls_vid queries": LS_VID("test/data/info_test.mat"),
    "evreid names": EVREID("rgb/info/train_name.txt"),
    "evreid tracks": EVREID("rgb/info/tracks_train_info.mat"),
    "evreid queries": EVREID("rgb/info/query_IDX.mat"),
    "event_reid list": Format(write_windows, "query_list.txt", read_event_reid, unseen=line_end, named=("index", "queries", "absent file")),
    "event_reid window": Format(write_windows, "test/003_c1_101.txt", read_event_reid, unseen=line_end),
    "sdcl chunk of version 5": Format(partial(write_chunk, compressed=False), "chunk.mat", read_chunk),
    "sdcl chunk, compressed": Format(partial(write_chunk, compressed=True), "chunk.mat", read_chunk),
}
