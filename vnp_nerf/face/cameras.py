"""Cameras of ours as nerfstudio's, and the virtual ones that let its tools see an object from all sides."""

import math
from typing import Any

import torch
from nerfstudio.cameras.cameras import Cameras as NerfstudioCameras
from nerfstudio.cameras.cameras import CameraType

from vnp_nerf.cameras import Cameras, look_at, orbit_cameras

FIELD_OF_VIEW = 40.0
# A ball of radius 1.1 just fits into the picture.
DISTANCE = 1.1 / math.sin(math.radians(FIELD_OF_VIEW / 2))


def nerfstudio_cameras(cameras: Cameras) -> NerfstudioCameras:
    """The same cameras, for nerfstudio; both count pixel centres from 0.5 and look along -z."""
    fx, fy, cx, cy = cameras.intrinsics.float().split(1, dim=-1)
    height, width = cameras.sizes.split(1, dim=-1)
    return NerfstudioCameras(
        camera_to_worlds=cameras.camera_to_world.float(),
        fx=fx,
        fy=fy,
        cx=cx,
        cy=cy,
        width=width,
        height=height,
        camera_type=CameraType.PERSPECTIVE,
    )


def cat_cameras(*parts: Cameras) -> Cameras:
    """All cameras in one block."""
    return Cameras(
        torch.cat([part.camera_to_world for part in parts]),
        torch.cat([part.intrinsics for part in parts]),
        torch.cat([part.sizes for part in parts]),
    )


def spiral_cameras(count: int, height: int, width: int) -> Cameras:
    """Cameras about the unit ball, evenly over the sphere, on one path that winds from below to above.

    Saff and Kuijlaars' generalised spiral (The Mathematical Intelligencer 19, 1997). Neighbours on the path
    are neighbours on the sphere, so that interpolating between them gives a steady flight.
    """
    altitude = torch.linspace(-1, 1, count + 2, dtype=torch.float64)[1:-1]
    level = (1 - altitude.square()).sqrt()
    azimuth = torch.cumsum(3.6 / (math.sqrt(count) * level), dim=0)
    directions = torch.stack([level * azimuth.cos(), level * azimuth.sin(), altitude], dim=-1)
    focal = 0.5 * min(height, width) / math.tan(math.radians(FIELD_OF_VIEW / 2))
    return Cameras(
        look_at((DISTANCE * directions).float()),
        torch.tensor([focal, focal, width / 2, height / 2]).repeat(count, 1),
        torch.tensor([[height, width]]).repeat(count, 1),
    )


def turntable_cameras(count: int, elevation: float, height: int, width: int) -> Cameras:
    """A level circle about the unit ball at an elevation in degrees."""
    return orbit_cameras(count, DISTANCE, elevation, _horizontal_field(height, width), height, width)


def elevation_of(cameras: Cameras) -> float:
    """Mean elevation of cameras above the xy plane as seen from the origin, degrees, kept off the poles."""
    positions = cameras.positions.double()
    sine = positions[:, 2] / positions.norm(dim=-1).clamp_min(1e-9)
    return float(torch.rad2deg(torch.asin(sine.clamp(-1, 1))).mean().clamp(-75, 75))


def camera_path(cameras: Cameras, seconds: float) -> dict[str, Any]:
    """A path as `ns-render camera-path` reads it, one frame a camera."""
    height, width = cameras.sizes[0].tolist()
    fields = torch.rad2deg(2 * torch.atan(cameras.sizes[:, 0] / (2 * cameras.intrinsics[:, 1])))
    last_row = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    frames = [
        {
            "camera_to_world": torch.cat([pose, last_row]).flatten().tolist(),
            "fov": field,
            "aspect": width / height,
        }
        for pose, field in zip(cameras.camera_to_world, fields.tolist(), strict=True)
    ]
    return {
        "camera_type": "perspective",
        "render_height": height,
        "render_width": width,
        "fps": len(cameras) / seconds,
        "seconds": seconds,
        "is_cycle": True,
        "smoothness_value": 0.0,
        "camera_path": frames,
    }


def _horizontal_field(height: int, width: int) -> float:
    """Horizontal field of view, degrees, of a picture whose smaller side sees `FIELD_OF_VIEW`."""
    half = math.tan(math.radians(FIELD_OF_VIEW / 2)) * width / min(height, width)
    return math.degrees(2 * math.atan(half))
