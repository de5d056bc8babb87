"""Files of weights and checkpoints: opened without running what they hold, and a damaged one told clearly."""

import zipfile
from pathlib import Path

import torch


def load_weights(path: str | Path) -> dict:
    """What `torch.save` wrote, on the CPU; only tensors and plain values are accepted, and their checksums are compared.

    Raises FileNotFoundError, or ValueError, with the path, for a file that is cut off, damaged or holds something else."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
            if broken is not None:
                raise ValueError(f"the checksum of {broken} is wrong")
        found = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # on a damaged file the unpickler raises errors of every kind
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is damaged or cut off ({type(error).__name__}: {text}): copy it or make it again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}, not weights by name")
    return found
