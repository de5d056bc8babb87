"""torch's lists and dicts of layers, for layers of one kind: a type checker knows what comes out of them."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, ValuesView
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from torch import nn

LayerT = TypeVar("LayerT", bound=nn.Module)


class ListOf(nn.ModuleList, Generic[LayerT]):
    """An `nn.ModuleList` of layers of one class, `ListOf[BNNeck]`."""

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[LayerT]: ...

        @overload
        def __getitem__(self, idx: slice) -> ListOf[LayerT]: ...

        @overload
        def __getitem__(self, idx: int) -> LayerT: ...

        def __getitem__(self, idx: int | slice) -> LayerT | ListOf[LayerT]: ...


class DictOf(nn.ModuleDict, Generic[LayerT]):
    """An `nn.ModuleDict` of layers of one class, `DictOf[TemporalKernels]`."""

    if TYPE_CHECKING:

        def __getitem__(self, key: str) -> LayerT: ...

        def items(self) -> ItemsView[str, LayerT]: ...

        def values(self) -> ValuesView[LayerT]: ...
