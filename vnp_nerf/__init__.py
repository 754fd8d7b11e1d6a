"""Radiance fields that are inferred, not optimised.

    import vnp_nerf

    model   = vnp_nerf.load("furniture")
    field   = model.infer(images, cameras)       # or model.infer(vnp_nerf.open_scene(folder))
    picture = field.render(camera)               # rgb, accumulation, depth, sigma: plain tensors
    draws   = field.sample(8)                    # fields of single draws
    mesh    = field.mesh()                       # trimesh, in the frame and units of the cameras

The names below are loaded when they are first used, so that `import vnp_nerf` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vnp_nerf.cameras import Cameras, look_at, orbit_cameras
    from vnp_nerf.given_cameras import pinhole_cameras
    from vnp_nerf.inferred_field import InferredField, RenderedPicture
    from vnp_nerf.library import shipped_weights
    from vnp_nerf.loaded_model import LoadedModel, load
    from vnp_nerf.readers import ReadOptions, open_scene
    from vnp_nerf.scene import Scene

__version__ = "0.1.0"

__all__ = [
    "Cameras",
    "InferredField",
    "LoadedModel",
    "ReadOptions",
    "RenderedPicture",
    "Scene",
    "load",
    "look_at",
    "open_scene",
    "orbit_cameras",
    "pinhole_cameras",
    "shipped_weights",
]

_HOMES = {
    "cameras": ("Cameras", "look_at", "orbit_cameras"),
    "given_cameras": ("pinhole_cameras",),
    "inferred_field": ("InferredField", "RenderedPicture"),
    "library": ("shipped_weights",),
    "loaded_model": ("LoadedModel", "load"),
    "readers": ("ReadOptions", "open_scene"),
    "scene": ("Scene",),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"vnp_nerf.{module}"), name)
    raise AttributeError(f"module 'vnp_nerf' has no attribute '{name}'")
