"""The rows that a layer sees of inputs, and products with them; those of a convolution are never written down.

A convolution's rows are overlapping patches: nine times its inputs for a kernel of 3 x 3. A product with them is a
convolution, or its transpose, and the products of all pairs of patches are sums along the diagonals of those of all
pairs of pixels (box sums, one side of the kernel after the other), which takes a ninth of the multiplications.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input, conv2d_weight

from ..contract.params import Params
from ..contract.victim import Victim
from .inputs import Geometry, given_to, rows_of, together


@dataclass(frozen=True)
class Rows:
    """Rows A that are written down.

    Attributes:
        source: (n, positions, width) the rows of n inputs.
    """

    source: Tensor

    @property
    def count(self) -> int:
        """Return how many rows N all inputs have."""
        return self.source.shape[0] * self.source.shape[1]

    @property
    def positions(self) -> int:
        """Return how many rows one input has."""
        return self.source.shape[1]

    def written(self) -> Tensor:
        """Return the rows (n, positions, width), differentiable."""
        return self.source

    def times(self, directions: Tensor) -> Tensor:
        """Return A D^T, (n, positions, k), for directions D (k, width); differentiable in :attr:`source`."""
        return self.source @ directions.T

    def combined(self, signals: Tensor) -> Tensor:
        """Return S^T A, (k, width), for signals S (N, k)."""
        return signals.T @ self.source.flatten(0, 1)

    def slope(self, signals: Tensor, directions: Tensor) -> Tensor:
        """Return the derivative of ``<S D, A>`` with respect to :attr:`source`, for S (N, k) and D (k, width)."""
        return (signals @ directions).view(self.source.shape)

    def lengths(self) -> Tensor:
        """Return (n,) the sum of the squares of each input's rows, differentiable."""
        return self.source.square().sum((1, 2))

    def gram(self) -> Tensor:
        """Return A A^T, (N, N)."""
        rows = self.source.flatten(0, 1)
        return rows @ rows.T


@dataclass(frozen=True)
class Patches:
    """The rows of a convolution with one group, by what it is given.

    Attributes:
        source: (n, channels, height, width) what it is given.
        geometry: Of its kernel.
    """

    source: Tensor
    geometry: Geometry

    @cached_property
    def plane(self) -> tuple[int, int]:
        """Return the height and width of its output."""
        kernel, stride, dilation, padding = self.geometry
        sides = zip(self.source.shape[2:], kernel, stride, dilation, padding, strict=True)
        height, width = ((a + 2 * p - d * (k - 1) - 1) // s + 1 for a, k, s, d, p in sides)
        return height, width

    @property
    def count(self) -> int:
        """Return how many rows N all inputs have."""
        return len(self.source) * self.positions

    @property
    def positions(self) -> int:
        """Return how many rows one input has."""
        return self.plane[0] * self.plane[1]

    def written(self) -> Tensor:
        """Return the rows (n, positions, width), differentiable."""
        return self.geometry.patches(self.source)

    def times(self, directions: Tensor) -> Tensor:
        """Return A D^T, (n, positions, k), for directions D (k, width); differentiable in :attr:`source`."""
        return self._convolved(self.source, self._kernels(directions)).flatten(2).transpose(1, 2)

    def combined(self, signals: Tensor) -> Tensor:
        """Return S^T A, (k, width), for signals S (N, k)."""
        kernel, stride, dilation, padding = self.geometry
        size = (signals.shape[1], self.source.shape[1], *kernel)
        found: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            self.source, size, self._image(signals), stride, padding, dilation
        )
        return found.flatten(1)

    def slope(self, signals: Tensor, directions: Tensor) -> Tensor:
        """Return the derivative of ``<S D, A>`` with respect to :attr:`source`, for S (N, k) and D (k, width)."""
        _, stride, dilation, padding = self.geometry
        found: Tensor = conv2d_input(  # type: ignore[no-untyped-call]
            self.source.shape, self._kernels(directions), self._image(signals), stride, padding, dilation
        )
        return found

    def lengths(self) -> Tensor:
        """Return (n,) the sum of the squares of each input's rows, differentiable."""
        ones = self.source.new_ones(1, 1, *self.geometry.kernel)
        return self._convolved(self.source.square().sum(1, keepdim=True), ones).sum((1, 2, 3))

    def gram(self) -> Tensor:
        """Return A A^T, (N, N)."""
        kernel, stride, dilation, padding = self.geometry
        if stride != (1, 1) or dilation != (1, 1):
            return Rows(self.written()).gram()
        n, channels, height, width = self.source.shape
        pixels = self.source.permute(0, 2, 3, 1).reshape(-1, channels)
        found = (pixels @ pixels.T).view(n, height, width, n, height, width)
        for axis in (0, 1):
            found = _diagonal_sums(found, 1 + axis, 4 + axis, kernel[axis], padding[axis])
        return found.reshape(self.count, self.count)

    def _convolved(self, given: Tensor, kernels: Tensor) -> Tensor:
        _, stride, dilation, padding = self.geometry
        return conv2d(given, kernels, None, stride, padding, dilation)

    def _kernels(self, directions: Tensor) -> Tensor:
        return directions.view(len(directions), self.source.shape[1], *self.geometry.kernel)

    def _image(self, signals: Tensor) -> Tensor:
        image = signals.view(len(self.source), self.positions, -1).transpose(1, 2)
        return image.reshape(len(self.source), -1, *self.plane)


Seen = Rows | Patches
Place = tuple[str, int]
"""Path of a layer and number of a group of its channels."""


def seen_of(victim: Victim, params: Params, x: Tensor, places: Iterable[Place]) -> dict[Place, Seen]:
    """Return the rows that layers multiply, by path and group, in the order in which the layers run.

    As :func:`.inputs.inputs_of`; differentiable in ``x`` (n, ...).
    """
    asked = list(places)
    given = given_to(victim, params, x, dict.fromkeys(path for path, _ in asked))
    found: dict[Place, Seen] = {}
    for path, parts in given.items():
        module = victim.module.get_submodule(path)
        groups = sorted(group for other, group in asked if other == path)
        if len(parts) == 1 and len(parts[0]) == len(x) and isinstance(module, nn.Conv1d | nn.Conv2d):
            plane = parts[0][:, :, None] if isinstance(module, nn.Conv1d) else parts[0]
            channels, geometry = plane.chunk(module.groups, 1), Geometry.of(module)
            found |= {(path, group): Patches(channels[group], geometry) for group in groups}
        else:
            rows = together([rows_of(module, part) for part in parts], len(x))
            found |= {(path, group): Rows(rows[:, group]) for group in groups}
    return found


def coarsest(rows: Mapping[str, Seen]) -> list[str]:
    """Return the layers that see the fewest positions, more than one: what they see hardly shows where it was."""
    seen = {key: part.positions for key, part in rows.items() if part.positions > 1}
    return [key for key, positions in seen.items() if positions == min(seen.values())]


def _diagonal_sums(products: Tensor, first: int, second: int, kernel: int, padding: int) -> Tensor:
    """Return sums over a kernel's side of entries whose two positions, on the axes given, move together."""
    size = products.shape[first]
    out = size + 2 * padding - kernel + 1
    shape = [out if axis in (first, second) else length for axis, length in enumerate(products.shape)]
    sums = products.new_zeros(shape)
    for place in range(kernel):
        shift = place - padding
        start, end = max(0, -shift), min(out, size - shift)
        if start < end:
            into = sums.narrow(first, start, end - start).narrow(second, start, end - start)
            into += products.narrow(first, start + shift, end - start).narrow(second, start + shift, end - start)
    return sums
