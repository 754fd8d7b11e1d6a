"""A capture as the checks see it: the scene, its context, and small pictures of some of its views."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from vnp_core.errors import CameraError, ViewCountError
from vnp_nerf.cameras import Cameras
from vnp_nerf.context_choice import choose_context
from vnp_nerf.readers import ReadOptions, open_scene
from vnp_nerf.scene import Scene

SIDE = 128
"""Longer side of the pictures that are checked, pixels."""
_MOST_VIEWS = 12
"""Views that are checked besides the context, evenly spread."""


@dataclass(frozen=True, eq=False)
class Capture:
    """context, views: numbers of views; the second are those whose pictures were read, and hold the first.

    pictures: straight-alpha RGBA of `views`. complaint: why the reader could not find the object, if so; then
    the scene's box stands about the origin of its world.
    """

    scene: Scene
    context: tuple[int, ...]
    views: tuple[int, ...]
    pictures: tuple[UInt8[np.ndarray, "H W 4"], ...]
    complaint: CameraError | ViewCountError | None

    @classmethod
    def read(
        cls,
        path: Path,
        options: ReadOptions,
        context: Sequence[int] | None = None,
        on_picture: Callable[[int, int], None] = lambda done, total: None,
    ) -> "Capture":
        """Reads a scene; `on_picture` is told how many pictures are read, and of how many.

        Raises a `SceneError` for what cannot be read at all.
        """
        small = replace(options, max_size=min(SIDE, options.max_size or SIDE))
        complaint = None
        try:
            scene = open_scene(path, small)
        except (CameraError, ViewCountError) as error:
            # Its cameras may be sound one by one, and only see no common object: then they can be drawn.
            complaint = error
            try:
                scene = open_scene(path, replace(small, frame="canonical"))
            except CameraError:
                raise error from None
        seen = choose_context(scene, None if context is None else tuple(context), None)
        count = min(_MOST_VIEWS, len(scene))
        spread = [place * len(scene) // count for place in range(count)]
        views = tuple(sorted({*seen, *spread}))
        pictures = []
        for view in views:
            pictures.append(scene.picture(view))
            on_picture(len(pictures), len(views))
        return cls(scene, seen, views, tuple(pictures), complaint)

    @property
    def cameras(self) -> Cameras:
        """Those of `views`, in the world of the file."""
        return self.scene.cameras[list(self.views)]

    @cached_property
    def masks(self) -> list[Bool[torch.Tensor, "H W"]]:
        """Where each picture of `views` shows the object: alpha of a half or more."""
        return [torch.from_numpy(picture[..., 3] >= 128) for picture in self.pictures]

    @property
    def is_masked(self) -> bool:
        """Whether all pictures show both object and background."""
        return all(bool(mask.any()) and not bool(mask.all()) for mask in self.masks)

    def name_of(self, view: int) -> str:
        """The file of a view."""
        return self.scene.pictures[view].path.name
