"""The fuzzing tests use the small data sets of the other tests."""

import sys
from pathlib import Path

for folder in ("datasets", "events"):
    sys.path.append(str(Path(__file__).resolve().parent.parent / folder))
