"""From tracklets by name to index rows: numbers of people and cameras, and who trains, who is asked and who is searched."""

from collections import defaultdict

import numpy as np

from reidlib.datasets.own_checks import Problems
from reidlib.datasets.own_files import Found, first_rows


def index_rows(found: list[Found], seed: int, test_share: float, problems: Problems) -> list[dict]:
    """One row of `build_store` per tracklet, with "what" and "names" (person, camera) beside the index columns.

    Where nobody gave a subset: people who can be tested (seen by two cameras; two tracklets where cameras are unknown) are divided by the
    seed, `test_share` of them for the test (at least two, and two people are left to train; 1: all, nobody trains). Of a test person the
    first camera (first tracklet) is the query, the rest the gallery. People who cannot be tested train, or widen the gallery if nobody
    trains. Errors and assumptions are told to `problems`."""
    known = _cameras(found, problems)
    people, cameras = _numbers({one.person for one in found}), _numbers({one.camera for one in found}) if known else {}
    if len(people) == 1:
        problems.error(found[0].file, "one person alone", "re-identification needs two or more", found[0].rows)
    _subsets(found, known, seed, test_share, problems)
    rows: list[dict] = []
    counts: dict[str, int] = defaultdict(int)
    for one in found:
        person, camera = people[one.person], cameras.get(one.camera, -1)
        place = f"p{person:04d}" + (f"/c{camera}" if known else "")
        key = f"{place}/t{counts[place]}"
        counts[place] += 1
        row = {"key": key, "dataset": "own", "split": 0, "subset": one.subset, "person": person, "camera": camera, "source": one.source}
        rows.append({**row, "what": one.what, "names": [one.person, one.camera]})
    return rows


def _cameras(found: list[Found], problems: Problems) -> bool:
    """Whether cameras count: all tracklets have one, and there are two or more."""
    without = [one for one in found if not one.camera]
    if not found or len(without) == len(found):
        return False
    if without:
        what = f"{len(without)} of {len(found)} tracklets without a camera, the first: {without[0].source}"
        problems.error(without[0].file, what, "give every tracklet its camera, or none of them", first_rows(without))
        return True
    if len({one.camera for one in found}) > 1:
        return True
    what = f"one camera only ({found[0].camera}): a match is another tracklet of the same camera"
    problems.warning(found[0].file, what, "scores say little about other cameras: record with a second one")
    return False


def _numbers(names: set[str]) -> dict[str, int]:
    """Name -> number: its own where all names are different whole numbers, else its place in the order of names."""
    if all(name.isascii() and name.isdigit() and len(name) < 18 for name in names) and len({int(name) for name in names}) == len(names):
        return {name: int(name) for name in sorted(names, key=int)}
    return {name: number for number, name in enumerate(sorted(names))}


def _subsets(found: list[Found], known: bool, seed: int, test_share: float, problems: Problems) -> None:
    """Give every tracklet its subset."""
    given = [one for one in found if one.subset]
    if given and len(given) < len(found):
        lacking = [one for one in found if not one.subset]
        what = "some tracklets have a subset, these have none"
        problems.error(lacking[0].file, what, "give it to all of them or to none", first_rows(lacking))
        return
    if not given:
        _divide(found, known, seed, test_share, problems)
    _ask([one for one in found if one.subset == "test"], known)
    if given:
        _check_given(found, known, problems)


def _sights(found: list[Found], known: bool) -> dict[str, set]:
    """Person -> their cameras, or their tracklets where cameras are unknown."""
    seen = defaultdict(set)
    for number, one in enumerate(found):
        seen[one.person].add(one.camera if known else number)
    return seen


def _divide(found: list[Found], known: bool, seed: int, test_share: float, problems: Problems) -> None:
    """Everybody's subset, "test" for those of the test."""
    seen, file = _sights(found, known), found[0].file
    able = sorted(name for name in seen if len(seen[name]) > 1)
    lonely = [one for one in found if len(seen[one.person]) == 1]
    twice = "under two cameras" if known else "twice"
    wanted = round(test_share * len(able))
    if test_share < 1:
        wanted = min(max(wanted, 2), len(able), len(seen) - 2)
    if len(able) < 2:
        what = f"no matches: {len(able)} people were seen {twice}, two are needed"
        problems.error(file, what, "the same person needs the same id in all cameras")
    elif wanted < 2:
        what = f"{len(seen)} people are too few to train with two and test with two"
        problems.error(file, what, "record more people, or set test_share to 1")
    if lonely:
        use = "they only train" if test_share < 1 else "they only widen the gallery"
        names = sorted({one.person for one in lonely})
        what = f"{len(names)} ids without a match, not seen {twice}: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}; {use}"
        problems.warning(lonely[0].file, what, "are the same people named alike?", first_rows(lonely))
    test = set(np.random.default_rng((seed, len(able))).choice(able, max(wanted, 0), replace=False).tolist()) if able else set()
    for one in found:
        one.subset = "test" if one.person in test else "train" if test_share < 1 else "gallery"


def _ask(test: list[Found], known: bool) -> None:
    """Test tracklets become queries (a person's first camera or tracklet) and gallery."""
    first: dict[str, str] = {}
    order = _numbers({one.camera for one in test}) if known else {}
    for one in test:
        before = first.get(one.person)
        if before is None or (known and order[one.camera] < order[before]):
            first[one.person] = one.camera
    asked = set()
    for one in test:
        query = one.camera == first[one.person] if known else one.person not in asked
        asked.add(one.person)
        one.subset = "query" if query else "gallery"


def _check_given(found: list[Found], known: bool, problems: Problems) -> None:
    """Someone's own division: nobody on both sides, and a match for every query."""
    train = {one.person for one in found if one.subset == "train"}
    both = [one for one in found if one.subset != "train" and one.person in train]
    if both:
        what = f"people both in train and in test: {', '.join(sorted({one.person for one in both})[:10])}"
        problems.error(both[0].file, what, "test people must be strangers: give them one side", first_rows(both))
    gallery = _sights([one for one in found if one.subset == "gallery"], known)
    for one in found:
        if one.subset == "query" and not gallery.get(one.person, set()) - ({one.camera} if known else set()):
            what = f"query without a match: {one.person} is not in the gallery {'under another camera' if known else 'at all'}"
            problems.error(one.file, what, "remove it, or add its match", one.rows[:1])
