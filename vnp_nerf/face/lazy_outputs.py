"""Outputs of which some cost much more than others, and are computed for who asks for them."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence

from torch import Tensor


class LazyOutputs(MutableMapping[str, Tensor]):
    """Tensors by name, in order; the `later` ones are computed together when the first of them is asked for.

    No dictionary, since those may be copied without asking for what they hold.
    """

    def __init__(
        self, ready: Mapping[str, Tensor], later: Sequence[str], compute: Callable[[], Mapping[str, Tensor]]
    ) -> None:
        self._tensors: dict[str, Tensor | None] = {**ready, **dict.fromkeys(later)}
        self._compute = compute

    def __getitem__(self, name: str) -> Tensor:
        if self._tensors[name] is None:
            for other, tensor in self._compute().items():
                if self._tensors.get(other, tensor) is None:  # neither set nor taken away in the meantime
                    self._tensors[other] = tensor
        found = self._tensors[name]
        assert found is not None, f"{name} was announced, and not computed"
        return found

    def __setitem__(self, name: str, tensor: Tensor) -> None:
        self._tensors[name] = tensor

    def __delitem__(self, name: str) -> None:
        del self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors
