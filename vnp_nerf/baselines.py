"""What a model must beat: predictors that infer no geometry.

White, the mean training picture, the nearest context view, and the nearest training object, looked up by the
context pictures. The last tells whether a corpus can be solved by remembering it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from vnp_core.errors import DataError
from vnp_nerf.evaluation import Case, pictures_over_white
from vnp_nerf.readers import open_scene
from vnp_nerf.views import Views


class WhitePicture:
    """Nothing but background."""

    name = "white"
    reads_context = False

    def predict(self, case: Case, count: int) -> list[Float[Tensor, "H W 3"]]:
        """White pictures of the queries' sizes."""
        return [torch.ones(height, width, 3) for height, width in case.query.sizes[0].tolist()]


class MeanPicture:
    """The mean of training pictures over white, whatever the camera."""

    name = "mean-picture"
    reads_context = False

    def __init__(
        self,
        scenes: Sequence[Path],
        generator: np.random.Generator,
        *,
        count: int = 100,
        on_scene: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Averages all views of at most `count` scenes, drawn by `generator`. `DataError` without any.

        on_scene: is told how many are read, and of how many.
        """
        if not scenes:
            raise DataError("the mean training picture needs training scenes, and there are none")
        drawn = [scenes[index] for index in generator.permutation(len(scenes))[:count]]
        pictures: list[UInt8[Tensor, "h w 3"]] = []
        for number, path in enumerate(drawn):
            pictures += RememberedObject.from_path(path).pictures
            on_scene(number + 1, len(drawn))
        height, width, _ = pictures[0].shape
        total = torch.zeros(height, width, 3, dtype=torch.float64)
        for picture in pictures:
            total += resized(picture.float() / 255, height, width)
        self.picture = (total / len(pictures)).float()

    def predict(self, case: Case, count: int) -> list[Float[Tensor, "H W 3"]]:
        """The mean picture in the queries' sizes."""
        return [resized(self.picture, height, width) for height, width in case.query.sizes[0].tolist()]


class NearestView:
    """The context picture of the camera nearest to the query's, by the angle about the object's centre."""

    name = "nearest-view"
    reads_context = True

    def predict(self, case: Case, count: int) -> list[Float[Tensor, "H W 3"]]:
        """Context pictures in the queries' sizes."""
        context = case.first_views(count)
        pictures = pictures_over_white(context)
        nearest = (camera_bearings(case.query) @ camera_bearings(context).T).argmax(-1).tolist()
        sizes = case.query.sizes[0].tolist()
        return [resized(pictures[index], *size) for index, size in zip(nearest, sizes, strict=True)]


@dataclass
class RememberedObject:
    """A training object: unit bearings of its cameras about its centre; its pictures over white, as bytes."""

    bearings: Float[Tensor, "V 3"]
    pictures: list[UInt8[Tensor, "h w 3"]]

    @classmethod
    def from_path(cls, path: Path) -> "RememberedObject":
        """Reads all views of a scene."""
        scene = open_scene(path)
        views = Views.from_scene(scene, range(len(scene)))
        pictures = [(picture * 255).round().byte() for picture in pictures_over_white(views)]
        return cls(camera_bearings(views), pictures)

    def picture(self, view: int, height: int, width: int) -> Float[Tensor, "H W 3"]:
        """One of its pictures, 0 to 1, in the size asked for."""
        return resized(self.pictures[view].float() / 255, height, width)


class NearestObject:
    """The training object that looks most like the context, shown from its own camera nearest to the query's.

    For each context view, each training object is seen from its camera with the nearest bearing; the object
    with the least squared error, summed over the context views, is taken. Its cameras are not those of the
    test object, so the lookup pays for the angle between them, as the nearest view does.
    """

    name = "nearest-object"
    reads_context = True

    def __init__(
        self, scenes: Sequence[Path], *, threads: int = 2, on_scene: Callable[[int], None] = lambda done: None
    ) -> None:
        """Remembers all pictures of all `scenes`. on_scene: is told how many are read."""
        self.objects: list[RememberedObject] = []
        with ThreadPoolExecutor(threads) as pool:
            for remembered in pool.map(RememberedObject.from_path, scenes):
                self.objects.append(remembered)
                on_scene(len(self.objects))
        if not self.objects:
            raise DataError("the nearest training object needs training scenes, and there are none")

    def predict(self, case: Case, count: int) -> list[Float[Tensor, "H W 3"]]:
        """Pictures of the best match in the queries' sizes."""
        context = case.first_views(count)
        best = self.match(pictures_over_white(context), camera_bearings(context))
        nearest = (camera_bearings(case.query) @ best.bearings.T).argmax(-1).tolist()
        sizes = case.query.sizes[0].tolist()
        return [best.picture(view, *size) for view, size in zip(nearest, sizes, strict=True)]

    def match(
        self, pictures: Sequence[Float[Tensor, "H W 3"]], bearings: Float[Tensor, "V 3"]
    ) -> RememberedObject:
        """The training object nearest to pictures taken from these bearings."""

        def error(candidate: RememberedObject) -> float:
            views = (bearings @ candidate.bearings.T).argmax(-1).tolist()
            pairs = zip(pictures, views, strict=True)
            errors = (candidate.picture(view, *wanted.shape[:2]) - wanted for wanted, view in pairs)
            return sum(float(difference.square().sum()) for difference in errors)

        return min(self.objects, key=error)


def camera_bearings(views: Views) -> Float[Tensor, "V 3"]:
    """Unit vectors from the centre of the model frame to the cameras of the first scene."""
    return F.normalize(views.camera_to_world[0, :, :, 3], dim=-1)


def resized(picture: Float[Tensor, "h w 3"], height: int, width: int) -> Float[Tensor, "H W 3"]:
    """Bilinear with antialiasing; the picture itself where the size is right already."""
    if picture.shape[:2] == (height, width):
        return picture
    channels_first = rearrange(picture, "h w rgb -> 1 rgb h w")
    scaled = F.interpolate(channels_first, (height, width), mode="bilinear", antialias=True)
    return rearrange(scaled, "1 rgb h w -> h w rgb")
