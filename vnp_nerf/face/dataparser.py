"""The focus scene: the one scene of a collection that nerfstudio's tools look at, in the model's frame.

The scene's views are parted in two: the context, which the model sees, is nerfstudio's train set; the others
are its eval set. This module must not import nerfstudio's datamanagers, which import it.
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataParserConfig, DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.plugins.registry_dataparser import DataParserSpecification

from vnp_nerf.cameras import Cameras
from vnp_nerf.context_choice import choose_context
from vnp_nerf.face.cameras import (
    cat_cameras,
    elevation_of,
    nerfstudio_cameras,
    spiral_cameras,
    turntable_cameras,
)
from vnp_nerf.readers import Collection, ReadOptions, open_collection, open_scene
from vnp_nerf.scene import Scene

FOCUS_SPLITS = ("val", "test", "train")


@dataclass
class VNPSceneDataParserConfig(DataParserConfig):
    """Scenes for VNP: Learned-Init, SRN, Blender and nerfstudio folders, one scene or a collection."""

    _target: type = field(default_factory=lambda: VNPSceneDataParser)
    data: Path = Path()
    """A scene's folder, its transforms.json, or a folder of scenes."""
    scene: str | None = None
    """Name of the scene to look at; the collection's first val, else test, scene if not given."""
    context: tuple[int, ...] | None = None
    """Numbers of the views that the model sees."""
    num_context: int | None = None
    """How many views the model sees, spread evenly, where `context` is not given; up to 3 if neither is."""
    read: ReadOptions = field(default_factory=ReadOptions)
    """How scenes are read."""
    orbit_cameras: int = 24
    """Virtual cameras all about the object, so that exports see its every side."""
    orbit_size: int = 256
    """The tools' train cameras are enlarged until their pictures' larger side has this many pixels."""
    downscale_factor: float | None = None
    """Pictures are this many times smaller on each side; `ns-render dataset` sets it."""


@dataclass
class FocusOutputs(DataparserOutputs):
    """nerfstudio's outputs, with the scene that they were made from."""

    scene: Scene | None = None
    """The scene itself."""
    views: tuple[int | None, ...] = ()
    """For each camera the number of its view in the scene; None for a virtual camera."""


@dataclass
class VNPSceneDataParser(DataParser):
    """Reads the focus scene; see `VNPSceneDataParserConfig`."""

    config: VNPSceneDataParserConfig

    def __init__(self, config: VNPSceneDataParserConfig) -> None:
        super().__init__(config)
        self.downscale_factor = 1  # nerfstudio sets it when it wants no pictures
        self.collection: Collection = open_collection(Path(config.data))
        path = focus_path(self.collection, config.scene)
        self.scene: Scene = open_scene(path, config.read, self.collection.name_of(path))
        self.context: tuple[int, ...] = choose_context(self.scene, config.context, config.num_context)

    def _generate_dataparser_outputs(self, split: str = "train", orbit: bool = False) -> FocusOutputs:  # type: ignore
        """The context for 'train', the other views for any other split, in the model's frame.

        orbit: enlarge the train cameras and add the virtual ones.
        """
        if split != "train":
            return self._outputs(*self._eval_cameras())
        cameras = self.scene.model_cameras()[list(self.context)]
        if not (orbit and self.config.orbit_cameras):
            return self._outputs(cameras, self.context)
        cameras = enlarged(cameras, self.config.orbit_size)
        height, width = cameras.sizes[0].tolist()
        virtual = spiral_cameras(self.config.orbit_cameras, height, width)
        return self._outputs(cat_cameras(cameras, virtual), self.context + (None,) * len(virtual))

    def _eval_cameras(self) -> tuple[Cameras, tuple[int | None, ...]]:
        """Views to compare with; if the context leaves none, the context itself and a virtual turntable."""
        cameras = self.scene.model_cameras()
        views = views_to_compare(self.scene, self.context)
        if views:
            return cameras[list(views)], views
        seen = cameras[list(self.context)]
        height, width = seen.sizes[0].tolist()
        count = max(1, self.config.orbit_cameras)
        virtual = turntable_cameras(count, elevation_of(seen), height, width)
        return cat_cameras(seen, virtual), self.context + (None,) * count

    def _outputs(self, cameras: Cameras, views: tuple[int | None, ...]) -> FocusOutputs:
        scene, frame = self.scene, self.scene.frame
        folder = scene.path.parent if scene.path.is_file() else scene.path
        shown = nerfstudio_cameras(cameras)
        if self.config.downscale_factor is not None:
            shown.rescale_output_resolution(1 / self.config.downscale_factor)
        transform = torch.cat([frame.rotation, frame.translation[:, None] / frame.scale], dim=1)
        return FocusOutputs(
            image_filenames=[
                folder / "virtual" / f"{place:05d}.png" if view is None else scene.pictures[view].path
                for place, view in enumerate(views)
            ],
            cameras=shown,
            alpha_color=torch.ones(3),
            scene_box=SceneBox(aabb=torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])),
            dataparser_transform=transform.float(),
            dataparser_scale=float(frame.scale),
            scene=scene,
            views=views,
        )


def focus_path(collection: Collection, name: str | None) -> Path:
    """The scene of that name, or else the collection's first val (or test, or train) scene."""
    if name is not None:
        return collection.find(name)
    return next(paths[0] for split in FOCUS_SPLITS if (paths := collection.scenes[split]))


def views_to_compare(scene: Scene, context: tuple[int, ...]) -> tuple[int, ...]:
    """Posed views that the model has not seen: the scene's test or val views, or all others; maybe none."""
    for split in ("test", "val"):
        held_out = tuple(view for view in scene.splits.get(split, ()) if view not in context)
        if held_out:
            return held_out
    return tuple(view for view in range(len(scene)) if view not in context)


def enlarged(cameras: Cameras, side: int) -> Cameras:
    """Cameras whose pictures have at least `side` pixels on the larger side of the first of them."""
    height, width = cameras.sizes[0].tolist()
    factor = side / max(height, width)
    if factor <= 1:
        return cameras
    sizes = (cameras.sizes * factor).round().long()
    ratio = (sizes / cameras.sizes).float()
    return Cameras(cameras.camera_to_world, cameras.intrinsics * ratio.flip(-1).repeat(1, 2), sizes)


vnp_scene = DataParserSpecification(
    config=VNPSceneDataParserConfig(),
    description="Scenes for VNP: Learned-Init, SRN, Blender and nerfstudio folders, one or many",
)
