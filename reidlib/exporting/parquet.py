"""Embeddings as a Parquet table: one row per tracklet, its index columns, its vector, and where the numbers come from."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from reidlib.files import settings_hash, write_atomically

_KEY = b"reidlib"


def embeddings_to_parquet(path: str | Path, index: pd.DataFrame, vectors: np.ndarray, settings: dict) -> None:
    """Write `vectors` float32 [N, D] beside the rows of `index` they belong to, as column "embedding", a list of fixed length D.

    settings: those of the run with the data's key (`RunSettings.with_data`, or a run's `settings.json`). The file's metadata, JSON under
    the name "reidlib", holds model, seed, a hash of the settings, the data's key and the settings themselves.
    Raises ValueError where rows and vectors do not match or a number is not finite."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or len(vectors) != len(index) or not vectors.size:
        raise ValueError(f"{list(vectors.shape)} embeddings do not fit an index of {len(index)} rows: one vector [D] per row is needed")
    if not np.isfinite(vectors).all():
        raise ValueError(f"{int((~np.isfinite(vectors)).any(axis=1).sum())} embeddings hold NaN or infinity; did the training diverge?")
    if "embedding" in index.columns:
        raise ValueError("the index already has a column 'embedding'")
    missing = [name for name in ("model", "seed", "data") if name not in settings]
    if missing:
        raise ValueError(f"settings lack {missing}; they are those of a run, from its settings.json")
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = pa.Table.from_pandas(index.reset_index(drop=True), preserve_index=False).append_column("embedding", column)
    facts = {"model": settings["model"], "seed": settings["seed"], "settings_hash": settings_hash(settings), "data": settings["data"]}
    described = json.dumps(facts | {"settings": settings}, sort_keys=True)
    table = table.replace_schema_metadata((table.schema.metadata or {}) | {_KEY: described.encode()})
    write_atomically(Path(path), lambda temporary: pq.write_table(table, temporary, write_page_checksum=True))


def read_embeddings(path: str | Path) -> tuple[pd.DataFrame, np.ndarray, dict]:
    """What `embeddings_to_parquet` wrote: index, vectors float32 [N, D], facts of the run.

    Raises ValueError for another program's file and for a damaged one."""
    try:
        return _read(path)
    except (pa.ArrowException, OSError, TypeError, KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} cannot be read as embeddings: {error} (is the file cut off or damaged?)") from error


def _read(path: str | Path) -> tuple[pd.DataFrame, np.ndarray, dict]:
    table = pq.read_table(path, page_checksum_verification=True)
    metadata = table.schema.metadata or {}
    if _KEY not in metadata or "embedding" not in table.column_names:
        raise ValueError(f"{path} holds no embeddings of reidlib: its columns are {table.column_names}")
    column = table.column("embedding").combine_chunks()
    vectors = column.flatten().to_numpy().reshape(len(table), -1)
    return table.drop_columns("embedding").to_pandas(), vectors, json.loads(metadata[_KEY])
