"""Embeddings written and read back."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from test_evaluation import toy_index

from reidlib.exporting import embeddings_to_parquet, read_embeddings
from reidlib.files import settings_hash

SETTINGS = {"model": "sew_resnet18", "seed": 3, "data": "abc", "options": {"width": 4}}


def vectors(rows: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, 5)).astype(np.float32)


def test_rows_vectors_and_facts_come_back(tmp_path):
    index = toy_index().iloc[::-1]  # labels of its own
    written = vectors(len(index))
    embeddings_to_parquet(tmp_path / "e.parquet", index, written, SETTINGS)
    found, read, facts = read_embeddings(tmp_path / "e.parquet")
    pd.testing.assert_frame_equal(found, index.reset_index(drop=True), check_dtype=False)
    np.testing.assert_array_equal(read, written)
    assert facts["model"] == "sew_resnet18" and facts["seed"] == 3 and facts["data"] == "abc"
    assert facts["settings"] == SETTINGS and facts["settings_hash"] == settings_hash(SETTINGS)


def test_the_vectors_are_a_list_of_fixed_length(tmp_path):
    index = toy_index()
    embeddings_to_parquet(tmp_path / "e.parquet", index, vectors(len(index)).astype(np.float64), SETTINGS)
    assert str(pq.read_schema(tmp_path / "e.parquet").field("embedding").type).startswith("fixed_size_list<element: float>[5]")
    plain = pd.read_parquet(tmp_path / "e.parquet")  # any reader will do
    np.testing.assert_array_equal(np.stack(plain["embedding"]), vectors(len(index)))


def test_bad_tables_are_refused(tmp_path):
    index, path = toy_index(), tmp_path / "e.parquet"
    for wrong in (vectors(3), vectors(len(index))[0], np.zeros((len(index), 0))):
        with pytest.raises(ValueError, match="do not fit an index"):
            embeddings_to_parquet(path, index, wrong, SETTINGS)
    spoiled = vectors(len(index))
    spoiled[2, 1] = np.nan
    with pytest.raises(ValueError, match="1 embeddings hold NaN"):
        embeddings_to_parquet(path, index, spoiled, SETTINGS)
    with pytest.raises(ValueError, match=r"settings lack \['seed'\]"):
        embeddings_to_parquet(path, index, vectors(len(index)), {"model": "a", "data": "b"})
    with pytest.raises(ValueError, match="already has a column"):
        embeddings_to_parquet(path, index.assign(embedding=0), vectors(len(index)), SETTINGS)
    assert not path.exists()
    index.to_parquet(path)
    with pytest.raises(ValueError, match="holds no embeddings of reidlib"):
        read_embeddings(path)
