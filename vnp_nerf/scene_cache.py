"""A bounded cache of decoded pictures, so that training reads each file once where memory allows."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt16
from rich.progress import track

from vnp_core.errors import SceneError
from vnp_nerf.readers import ReadOptions, open_scene
from vnp_nerf.scene import Scene
from vnp_nerf.true_depth import DepthPictures

_BOX_MARGIN = 1 / 16
"""By how much of the picture's longer side a foreground box is grown on each side, at least one pixel."""


@dataclass(frozen=True, eq=False)
class OpenedScene:
    """A scene's numbers as arrays: cameras in the model's frame, and the views that may be trained on; and
    where its depth is, if the cache was to look for it.
    """

    scene: Scene
    camera_to_world: Float[np.ndarray, "V 3 4"]
    intrinsics: Float[np.ndarray, "V 4"]
    usable: Int[np.ndarray, "U"]
    depth: DepthPictures | None = None


@dataclass(frozen=True, eq=False)
class DecodedView:
    """One picture's pixels, the box [x0, x1) x [y0, y1) around its foreground: (x0, y0, x1, y1), and the
    levels of its depth.
    """

    rgba: UInt8[np.ndarray, "h w 4"]
    box: tuple[int, int, int, int]
    depth: UInt16[np.ndarray, "h w"] | None = None

    @property
    def bytes(self) -> int:
        """Of its pixels and levels."""
        return self.rgba.nbytes + (0 if self.depth is None else self.depth.nbytes)


class SceneCache:
    """Scenes opened on first use and kept; pictures decoded on first use and kept while they fit.

    The bound is on the decoded bytes; the picture that was longest unused goes first.

    With `depth` each view comes with the depth that its renderer knew, and a scene without is an error.

    Safe to use from several threads. A picture may be decoded twice when two threads want it at once.
    """

    def __init__(
        self,
        scenes: Sequence[Path | Scene],
        mebibytes: float,
        options: ReadOptions | None = None,
        depth: bool = False,
    ) -> None:
        self._sources = list(scenes)
        self._with_depth = depth
        self._options = options
        self._capacity = int(mebibytes * 2**20)
        self._opened: dict[int, OpenedScene] = {}
        self._views: OrderedDict[tuple[int, int], DecodedView] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """The number of scenes."""
        return len(self._sources)

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """Bytes of the pictures held now; never more than the bound."""
        return self._bytes

    def opened(self, number: int) -> OpenedScene:
        """A scene, read on first use. Raises `SceneError`."""
        found = self._opened.get(number)
        if found is None:
            source = self._sources[number]
            scene = source if isinstance(source, Scene) else open_scene(source, self._options)
            cameras = scene.model_cameras()
            usable = np.asarray(scene.views_in("train"), dtype=np.int64)
            depth = self._depth_of(scene) if self._with_depth else None
            found = OpenedScene(
                scene, cameras.camera_to_world.numpy(), cameras.intrinsics.numpy(), usable, depth
            )
            self._opened[number] = found
        return found

    def view(self, number: int, index: int) -> DecodedView:
        """A view of a scene, decoded on first use. Raises `PictureError`, and for depth `SceneError`."""
        key = (number, index)
        with self._lock:
            found = self._views.get(key)
            if found is not None:
                self._views.move_to_end(key)
                return found
        opened = self.opened(number)
        rgba = opened.scene.picture(index)
        rgba.setflags(write=False)
        levels = None if opened.depth is None else opened.depth.levels(index).astype(np.uint16)
        found = DecodedView(rgba, foreground_box(rgba), levels)
        with self._lock:
            if key not in self._views and found.bytes <= self._capacity:
                self._views[key] = found
                self._bytes += found.bytes
                while self._bytes > self._capacity:
                    _, dropped = self._views.popitem(last=False)
                    self._bytes -= dropped.bytes
        return found

    @staticmethod
    def _depth_of(scene: Scene) -> DepthPictures:
        found = DepthPictures.of(scene)
        if found is None:
            raise SceneError(
                f"{scene.path}: the scene was written without depth, and batches.depth asks for it: set that "
                "to False, or make the scenes with 'make_scenes.py --depth'."
            )
        return found

    def preload(self, progress: bool = True, threads: int = 4) -> None:
        """Opens all scenes, so that broken ones show at once, and decodes views until the cache is full."""
        with ThreadPoolExecutor(threads) as pool:
            loads = pool.map(self._load_scene, range(len(self)))
            for _ in track(loads, "Reading scenes", total=len(self), disable=not progress):
                pass

    def _load_scene(self, number: int) -> None:
        for index in self.opened(number).usable:
            if self._bytes >= 0.98 * self._capacity:
                return
            self.view(number, int(index))


def foreground_box(rgba: UInt8[np.ndarray, "h w 4"]) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1), ends excluded: the box around alpha > 0, grown a little; all of an empty picture."""
    height, width = rgba.shape[:2]
    solid = rgba[..., 3] > 0
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    if rows.size == 0:
        return 0, 0, width, height
    margin = max(1, round(_BOX_MARGIN * max(height, width)))
    x0, x1 = max(int(columns[0]) - margin, 0), min(int(columns[-1]) + 1 + margin, width)
    y0, y1 = max(int(rows[0]) - margin, 0), min(int(rows[-1]) + 1 + margin, height)
    return x0, y0, x1, y1
