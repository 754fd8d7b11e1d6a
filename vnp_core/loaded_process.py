"""A trained process in a notebook: points in, a function out.

model = vnp_core.load("rbf")
function = model.infer(x, y)
answer = function.predict(elsewhere)      # answer.mean, answer.sigma
curves = function.sample(elsewhere, 8)
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vnp_core.bench.families import X_RANGE
from vnp_core.bench.panels import function_samples
from vnp_core.bench.systems import System, load_system
from vnp_core.errors import ConfigError, DataError
from vnp_core.given_numbers import Numbers, as_tensor, is_bytes, with_channels
from vnp_core.likelihoods import GaussianMixture
from vnp_core.model import Process
from vnp_core.observations import Grid, Observations, PointSet, grid_coordinates
from vnp_core.shipped import find_weights, shipped_names
from vnp_core.tasks.scaling import Scaling

_ROOMS = ("1d", "2d")
_PICTURE_RANGE = (-1.0, 1.0)
_CHUNK = 4096
"""Points that are predicted at a time."""


@dataclass(frozen=True)
class Prediction:
    """What a function is at the points that were asked about: mean, and standard deviation with noise.

    Shaped like those points, with the channels last if y was given with such an axis; on the CPU, in the
    units of y.
    """

    mean: Float[Tensor, "*shape"]
    sigma: Float[Tensor, "*shape"]


@dataclass(frozen=True, eq=False)
class LoadedProcess:
    """Weights that are ready to infer with.

    system: what the model is, and how it was trained. name: of the weights' file. card: what was saved with
    them, such as the tasks and the steps of training.
    """

    system: System
    model: nn.Module
    name: str
    card: dict[str, Any]

    def __repr__(self) -> str:
        return f"LoadedProcess({self.name!r}, device={str(self.device)!r})"

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device

    @property
    def x_dim(self) -> int:
        """Coordinates of a point."""
        return self.system.model.x_dim

    @property
    def y_dim(self) -> int:
        """Channels of a value."""
        return self.system.model.y_dim

    @property
    def x_range(self) -> tuple[float, float]:
        """From where to where x was trained, in every coordinate."""
        return _PICTURE_RANGE if "pictures" in self.card.get("tasks", {}) else X_RANGE

    def infer(
        self, x: Numbers, y: Numbers, *, scaling: Scaling | Literal["fit"] | None = None
    ) -> "InferredFunction":
        """The function of which N points were observed; of none, what the model expects beforehand.

        x: [N], or [N, X] of X coordinates. y: [N], or [N, Y] of Y channels. Arrays, tensors or lists.
        scaling: from these numbers to those that the model was trained on, which are x in `x_range` and
        values of about one unit. None: they are such numbers. 'fit': x of these points is stretched to that
        range, and y is brought to mean 0 and standard deviation 1.

        Raises `DataError`, naming the row, for what is not finite or of other sizes, and `ConfigError` for
        weights that read whole pictures. Warns where x lies outside of `x_range`.
        """
        if self.system.reads_grids:
            raise ConfigError(f"{self.name} reads pictures and not points: use infer_picture.")
        places, values = as_tensor(x, "x"), as_tensor(y, "y")
        flat = values.ndim < 2
        places, values = with_channels(places, self.x_dim, "x"), with_channels(values, self.y_dim, "y")
        if places.ndim != 2 or places.shape[:-1] != values.shape[:-1]:
            raise DataError(
                f"x and y are N points, [N] or [N, channels]; given were {list(places.shape)} and "
                f"{list(values.shape)}, with the axis of channels."
            )
        points = PointSet.present(places[None], values[None])
        points.validate()
        if scaling == "fit":
            if len(values) == 0:
                raise DataError("scaling='fit' needs points to fit to: give some, or a Scaling, or None.")
            scaling = Scaling.of(points, self.x_range)
        if scaling is None:
            scaling = _unscaled(self.x_dim, self.y_dim)
        points = scaling.apply(points)
        self.warn_outside(points.x, stacklevel=3)
        return InferredFunction(self, points, scaling, flat)

    def infer_picture(self, picture: Numbers, known: Numbers) -> "InferredFunction":
        """The picture of which some pixels are known, as a function of places.

        picture: [H, W] or [H, W, C], bytes or floats from 0 to 1; what it holds at other pixels does not
        matter. known: [H, W], true where a pixel is known. Ask the function about the places
        `grid_coordinates(height, width)`, of any height and width: it answers with brightness, 0 to 1.

        Raises `DataError` for what is no such array, and `ConfigError` for weights that know no pictures.
        """
        if self.x_range != _PICTURE_RANGE:
            raise ConfigError(f"{self.name} was not trained on pictures: use infer.")
        pixels, given = as_tensor(picture, "picture"), as_tensor(known, "known") > 0
        flat = pixels.ndim < 3
        pixels = with_channels(pixels, self.y_dim, "picture")
        if pixels.ndim != 3 or given.shape != pixels.shape[:2]:
            raise DataError(
                f"a picture is [H, W, {self.y_dim}] and known [H, W]; given were {list(pixels.shape)} and "
                f"{list(given.shape)}."
            )
        shares = pixels / 255 if is_bytes(picture) else pixels
        if not bool(((shares >= 0) & (shares <= 1))[given].all()):
            raise DataError("a picture of floats has brightness from 0 to 1 at every known pixel.")
        half = Scaling((0.0,) * 2, (1.0,) * 2, (0.5,) * self.y_dim, (1.0,) * self.y_dim)
        if self.system.reads_grids:
            values = (shares - 0.5).float().movedim(-1, 0)[None]
            return InferredFunction(self, Grid(values, given[None]), half, flat)
        height, width = given.shape
        places = grid_coordinates(height, width)[given]
        return InferredFunction(
            self, half.apply(PointSet.present(places[None], shares[given][None])), half, flat
        )

    def warn_outside(self, x: Float[Tensor, "*shape X"], stacklevel: int) -> None:
        """Warns of places, in the model's numbers, where nothing was trained."""
        low, high = self.x_range
        outside = ((x < low - 1e-6) | (x > high + 1e-6)).any(-1)
        if bool(outside.any()):
            warnings.warn(
                f"{int(outside.sum())} points lie outside of {low:g} to {high:g}, where {self.name} was "
                "trained: give infer a scaling, or do not trust the answers there.",
                stacklevel=stacklevel,
            )


@dataclass(frozen=True, eq=False)
class InferredFunction:
    """A distribution over functions, given what was observed of one.

    context: the observations in the model's numbers. scaling: to those numbers. flat: whether answers have no
    axis of channels.
    """

    process: LoadedProcess
    context: Observations
    scaling: Scaling
    flat: bool

    def predict(self, x: Numbers, *, draws: int | None = None, seed: int = 0) -> Prediction:
        """Mean and sigma at each of the points x, [*shape] or [*shape, X].

        draws: of the latents that are averaged over; 0 for the single best guess; as in the benchmarks if
        None. The same seed gives the same answer, however many points are asked for at once. Raises
        `DataError` and `ConfigError`, and warns, as `infer` does.
        """
        draws = self.process.system.draws if draws is None else draws
        if draws < 0:
            raise ConfigError(f"{draws} draws were asked for: give 1 or more, or 0 for the best guess.")
        places, shape = self._places(x)
        means: list[Tensor] = []
        sigmas: list[Tensor] = []
        for start in range(0, max(1, places.shape[1]), _CHUNK):
            part = places[:, start : start + _CHUNK]
            found = self._asked(part, max(1, draws), _generator(seed) if draws else None)
            means.append(self.scaling.y_back(found.mean.cpu()))
            sigmas.append(self.scaling.y_spread(found.variance.sqrt().cpu()))
        mean, sigma = (torch.cat(parts, dim=1)[0] for parts in (means, sigmas))
        return Prediction(self._shaped(mean, shape), self._shaped(sigma, shape))

    def sample(
        self, x: Numbers, count: int = 1, *, seed: int = 0, noise: bool = False
    ) -> Float[Tensor, "K *shape"]:
        """`count` functions that the model finds likely, each at all points x together.

        noise: add that of observations. Models without latents whose targets are independent (cnp, tnp) have
        one function, their mean. Raises as `predict` does.
        """
        if count < 1:
            raise ConfigError(f"{count} samples were asked for: give 1 or more.")
        places, shape = self._places(x)
        generator = _generator(seed)
        found = self._asked(places, count, generator)
        drawn: list[Tensor] = []
        while sum(part.shape[1] for part in drawn) < count:  # models without latents give one at a time
            drawn.append(found.sample(generator) if noise else function_samples(found, generator))
        values = self.scaling.y_back(torch.cat(drawn, dim=1)[0, :count].cpu())
        return torch.stack([self._shaped(each, shape) for each in values])

    def _places(self, x: Numbers) -> tuple[Float[Tensor, "1 M X"], tuple[int, ...]]:
        """The points in the model's numbers, and the shape that they came in, without that of coordinates."""
        places = with_channels(as_tensor(x, "x"), self.process.x_dim, "x")
        if not bool(places.isfinite().all()):
            raise DataError("x holds NaN or infinity: drop those points.")
        scaled = self.scaling.x_there(places)
        self.process.warn_outside(scaled, stacklevel=4)
        return scaled.reshape(1, -1, self.process.x_dim), tuple(places.shape[:-1])

    @torch.no_grad()
    def _asked(self, x: Float[Tensor, "1 M X"], draws: int, generator: Generator | None) -> GaussianMixture:
        device = self.process.device
        process, context = cast(Process, self.process.model), self.context
        if isinstance(context, Grid):
            context = Grid(context.values.to(device), context.mask.to(device))
        else:
            context = PointSet(context.x.to(device), context.y.to(device), context.mask.to(device))
        return process.predict(context, x.to(device), draws, generator)

    def _shaped(self, values: Float[Tensor, "M Y"], shape: tuple[int, ...]) -> Float[Tensor, "*shape"]:
        return values.reshape(
            shape if self.flat and self.process.y_dim == 1 else (*shape, self.process.y_dim)
        )


def load(name_or_path: str | Path, device: torch.device | str | None = None) -> LoadedProcess:
    """Shipped weights by name, such as 'rbf', 'vnp-rbf' or 'fashion-mnist', or a .safetensors file of yours.

    device: 'cpu', 'cuda' and the like; a GPU if there is one, by default. Raises `CheckpointError` where
    there are no such weights, or damaged ones, and `ConfigError` for those of another kind of model.
    """
    path = find_weights(name_or_path, "vnp-", _ROOMS)
    system, model, card = load_system(path)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return LoadedProcess(system, model.to(device), path.stem, card)


def shipped_weights() -> list[str]:
    """Names of the weights of functions and of pictures that come with the repository."""
    return shipped_names(_ROOMS)


def _unscaled(x_dim: int, y_dim: int) -> Scaling:
    return Scaling((0.0,) * x_dim, (1.0,) * x_dim, (0.0,) * y_dim, (1.0,) * y_dim)


def _generator(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)
