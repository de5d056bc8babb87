"""Ranked lists as pictures: which queries to show, and what each tracklet looks like."""

import numpy as np

from reidlib.datasets import StoreLike, TrackletStore, cameras_or_none
from reidlib.evaluation import Protocol
from reidlib.events import event_frames
from reidlib.metrics import cosine_distances

WINDOW = 100_000  # microseconds of events in one picture: long enough for an outline, short enough for a pose
HEIGHT = 128  # most rows of an event picture without video


def choose_queries(average_precision: np.ndarray, middle: int = 2, best: int = 1, worst: int = 2) -> list[tuple[str, int]]:
    """(kind, position) of the middle, best and worst queries by average precision; queries without a match (NaN) never, ties by position.

    With few queries each is shown once: the middle ones are chosen first, then the best, then the worst."""
    order = [int(i) for i in np.argsort(-average_precision, kind="stable") if not np.isnan(average_precision[i])]
    start = max(0, (len(order) - middle) // 2)
    picks = {i: "middle" for i in order[start : start + middle]}
    for kind, count, ranked in (("best", best, order), ("worst", worst, order[::-1])):
        picks |= {i: kind for i in [i for i in ranked if i not in picks][:count]}
    return [(kind, i) for name in ("middle", "best", "worst") for i, kind in picks.items() if kind == name]


def tracklet_picture(store: StoreLike, key: str) -> tuple[np.ndarray, ...]:
    """What a tracklet looks like around its middle: (video frame, event frame) where the store holds video, else (event frame,).

    Event frame [2, H, W]: the events of 0.1 s, or of the whole tracklet where it is shorter, at the video's size."""
    events, video = store.events(key), store.frames(key)
    start, stop = store.interval(key)
    middle = (start + stop) // 2
    start, stop = max(start, middle - WINDOW // 2), min(stop, middle + WINDOW // 2)
    step = -(-events.height // HEIGHT)  # whole pixels per cell: anything else leaves a grid of fuller and emptier lines
    size = (events.height // step, max(1, events.width // step)) if video is None else video.shape[1:3]
    picture = event_frames(events.window(start, stop), 1, start, max(stop, start + 1), size)[0]  # [2, H, W]
    return (picture,) if video is None else (video[len(video) // 2], picture)


def ranked_rows(
    store: TrackletStore,
    vectors: np.ndarray,
    protocol: Protocol,
    average_precision: np.ndarray,
    queries: list[tuple[str, int]],
    length: int = 7,
) -> list[dict]:
    """Rows for `plots.ranking.ranked_lists`: each query of `choose_queries` and the `length` nearest gallery entries that count.

    Entries that the protocol ignores (the query's person under the query's camera, the query itself) are not shown; all rows have
    the length of the shortest."""
    people, cameras = protocol.index["person"].to_numpy(), cameras_or_none(protocol.index)
    keys = protocol.index["key"].tolist()
    lists = [_nearest(vectors, protocol, people, cameras, position) for _, position in queries]
    length = min([length, *(len(entries) for entries, _ in lists)])
    rows = []
    for (kind, position), (entries, distances) in zip(queries, lists, strict=True):
        query, entries = protocol.queries[position], entries[:length]
        rows.append(
            {
                "query": tracklet_picture(store, keys[query]),
                "query_id": f"{kind}\nperson {people[query]}\nAP = {100 * average_precision[position]:.0f} %",
                "gallery": [tracklet_picture(store, keys[entry]) for entry in entries],
                "correct": [bool(people[entry] == people[query]) for entry in entries],
                "ids": [f"person {people[entry]}" for entry in entries],
                "distances": distances[:length],
            }
        )
    return rows


def _nearest(
    vectors: np.ndarray, protocol: Protocol, people: np.ndarray, cameras: np.ndarray | None, position: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the index and distances of a query's gallery, nearest first, without what the protocol ignores."""
    query, gallery = protocol.queries[position], protocol.gallery
    counts = gallery != query
    if cameras is not None:
        counts &= (people[gallery] != people[query]) | (cameras[gallery] != cameras[query])
    gallery = gallery[counts]
    distances = cosine_distances(vectors[[query]], vectors[gallery])[0]
    order = np.argsort(distances, kind="stable")
    return gallery[order], distances[order]
