"""Optional packages, asked for by name."""

import importlib
from types import ModuleType


def needed(name: str, what: str) -> ModuleType:
    """The module `name`. Raises ModuleNotFoundError that says what it is needed for and how it is installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{what} needs the package {error.name!r}: pip install 'reidlib[export]'", name=error.name) from error
