"""Readers of posed pictures on disk: each format becomes the same `Scene`."""

from pathlib import Path

from vnp_core.errors import SceneNotFoundError
from vnp_nerf.readers.collection import Collection, open_collection
from vnp_nerf.readers.layout import ReadOptions, holds_scene, holds_srn_scene
from vnp_nerf.readers.srn import read_srn
from vnp_nerf.readers.transforms import read_transforms
from vnp_nerf.scene import Scene

__all__ = ["Collection", "ReadOptions", "holds_scene", "open_collection", "open_scene"]


def open_scene(path: str | Path, options: ReadOptions | None = None, name: str | None = None) -> Scene:
    """Reads one scene of any format, from its folder or its json file. Pictures must exist and stay unread.

    name: what to call it, by default its folder's name. Raises `SceneNotFoundError` where there is no scene,
    and another `SceneError` (`PictureError`, `CameraError`, `ViewCountError`) where there is one that makes
    no sense.
    """
    path = Path(path)
    options = options or ReadOptions()
    if path.suffix == ".json" and path.is_file():
        return read_transforms(path, options, name or path.absolute().parent.name)
    if not holds_scene(path):
        raise SceneNotFoundError(
            f"No scene in {path}. A scene's folder holds transforms.json or transforms_train.json "
            f"(nerfstudio, Blender), or rgb/, pose/ and intrinsics.txt (SRN)."
        )
    read = read_srn if holds_srn_scene(path) else read_transforms
    return read(path, options, name or path.absolute().name)
