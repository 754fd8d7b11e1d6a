"""A trained model in a notebook: pictures and cameras in, a field out.

    model = vnp_nerf.load("furniture")
    field = model.infer(images, cameras)

Poses come in, and pictures and meshes go out, in the user's own frame and units.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8

from vnp_core.errors import CameraError, ConfigError, DataError, PictureError
from vnp_nerf.cameras import Cameras
from vnp_nerf.context_choice import choose_context
from vnp_nerf.frames import Similarity
from vnp_nerf.given_cameras import GivenNumbers, camera_poses, object_frame, pinhole_cameras
from vnp_nerf.given_pictures import GivenPictures, rgba_pictures
from vnp_nerf.inferred_field import InferredField
from vnp_nerf.library import load_model, weights_path
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.scene import Scene
from vnp_nerf.views import Views


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """Weights that are ready to infer with.

    name: of the weights' file. card: what was saved with them, such as the data and the steps of training.
    """

    model: RadianceModel
    name: str
    card: dict[str, Any]

    def __repr__(self) -> str:
        return f"LoadedModel({self.name!r}, device={str(self.device)!r})"

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device

    def infer(
        self,
        images: GivenPictures | Scene,
        cameras: GivenNumbers | Cameras | Scene | None = None,
        *,
        views: Sequence[int] | None = None,
        masks: GivenPictures | None = None,
        focal: float | Sequence[float] | None = None,
        field_of_view: float | None = None,
        intrinsics: GivenNumbers | None = None,
        frame: Literal["capture", "canonical"] | None = None,
        centre: Sequence[float] | None = None,
        radius: float | None = None,
    ) -> InferredField:
        """The field of the object that the pictures show, in one pass, in seconds.

        images: V pictures of any sizes: arrays or tensors [H, W, 3 or 4] or [3 or 4, H, W] (bytes, or floats
        from 0 to 1), PIL pictures or paths; straight alpha. masks: for pictures without alpha, [H, W] each,
        1 on the object and 0 elsewhere. Or a scene of `vnp_nerf.open_scene`, which has all of this itself.

        cameras: V camera-to-world matrices, [V, 4, 4] or [V, 3, 4], in OpenGL's convention, with one of
        focal, field_of_view and intrinsics; or `Cameras`; or a scene whose `views` the pictures are (see
        `pinhole_cameras`). views: numbers of a scene's views; up to three, from all around the object, if a
        scene is given alone.

        frame, centre, radius: where the object is, in the poses' own world (see `object_frame`), `capture` by
        default; a scene knows it (`open_scene(path, ReadOptions(frame="canonical"))`).

        Raises `PictureError`, `CameraError` or `ViewCountError`, with what was wrong and what to do, and
        `ConfigError` for arguments that do not go together. Warns where no picture has a transparent
        background.
        """
        lens = {"focal": focal, "field_of_view": field_of_view, "intrinsics": intrinsics}
        place = {"frame": frame, "centre": centre, "radius": radius}
        if isinstance(images, Scene):
            _refuse("a scene's pictures", cameras=cameras, masks=masks, **lens, **place)
            chosen = choose_context(images, None if views is None else tuple(views), None)
            return self._inferred(
                [images.picture(view) for view in chosen], images.cameras[list(chosen)], images.frame
            )
        pictures = rgba_pictures(images, masks)
        if not pictures:
            raise DataError("infer was given no pictures: give one or more, and a camera for each.")
        if isinstance(cameras, Scene):
            _refuse("a scene's cameras", **lens, **place)
            chosen = choose_context(cameras, tuple(range(len(cameras)) if views is None else views), None)
            return self._inferred(pictures, cameras.cameras[list(chosen)], cameras.frame)
        _refuse("cameras that are no scene", views=views)
        if cameras is None:
            raise ConfigError(
                "infer was given pictures and no cameras: give a camera-to-world matrix for each."
            )
        if isinstance(cameras, Cameras):
            _refuse("cameras that have a lens", **lens)
            posed = cameras.to("cpu")
            posed.validate()
        else:
            poses = camera_poses(cameras)
            _check_count(len(pictures), len(poses))
            sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
            posed = pinhole_cameras(poses, sizes, **lens)
        _check_sizes(pictures, posed)
        masks = [torch.from_numpy(picture[..., 3] >= 128) for picture in pictures]
        place_of_it = object_frame(posed, frame or "capture", centre, radius, masks)
        return self._inferred(pictures, posed, place_of_it)

    @torch.no_grad()
    def _inferred(
        self, pictures: list[UInt8[np.ndarray, "H W 4"]], cameras: Cameras, frame: Similarity
    ) -> InferredField:
        _check_sizes(pictures, cameras)
        if all(picture[..., 3].min() == 255 for picture in pictures):
            warnings.warn(
                "no picture has an alpha channel or a mask, so all of their background counts as the object; "
                "the shipped weights were trained on objects that are cut out. Give RGBA, or masks=.",
                stacklevel=3,
            )
        views = Views.from_pictures(pictures, frame.apply_cameras(cameras))
        return InferredField(self.model, self.model.encode(views.to(self.device)), frame, cameras[0])


def load(
    name_or_path: str | Path, device: torch.device | str | None = None, *, calibrated: bool = False
) -> LoadedModel:
    """Shipped weights by name, such as 'furniture', or a .safetensors file of yours.

    device: 'cpu', 'cuda' and the like; a GPU if there is one, by default. calibrated: with the noise times
    the factor that the card tells. Raises `CheckpointError` where there are no such weights, or damaged ones,
    and `ConfigError` for those of the paper's model, and for weights that were never calibrated.
    """
    path = weights_path(name_or_path)
    model, card = load_model(path, calibrate=calibrated)
    if not isinstance(model, RadianceModel):
        raise ConfigError(
            f"{path} holds the paper's model, whose fields change with the rays that are rendered together: "
            f"use it through vnp-infer and nerfstudio, or load weights of vnp-nerf."
        )
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return LoadedModel(model.to(device), path.stem, card)


def _check_count(pictures: int, cameras: int) -> None:
    if cameras != pictures:
        raise CameraError(f"{pictures} pictures came with {cameras} cameras; each needs its own.")


def _check_sizes(pictures: Sequence[UInt8[np.ndarray, "H W 4"]], cameras: Cameras) -> None:
    _check_count(len(pictures), len(cameras))
    for number, (picture, size) in enumerate(zip(pictures, cameras.sizes.tolist(), strict=True)):
        if list(picture.shape[:2]) != size:
            raise PictureError(
                f"picture {number} has {picture.shape[0]} x {picture.shape[1]} pixels (height x width), "
                f"but its camera says {size[0]} x {size[1]}; give cameras.scaled_to(height, width), or "
                f"the pictures that the cameras were made for."
            )


def _refuse(what: str, **given: Any) -> None:
    """Raises `ConfigError` for arguments that make no sense beside others."""
    beside = [name for name, value in given.items() if value is not None]
    if beside:
        raise ConfigError(f"{what} come without {' and '.join(beside)}: leave that away.")
