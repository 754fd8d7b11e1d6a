"""Pinhole cameras, and the rays and pixels that they pair.

One convention everywhere: OpenGL camera-to-world poses [3, 4] (x right, y up, looking along -z), intrinsics
(fx, fy, cx, cy) in pixels, y of a pixel pointing down, and the centre of the upper left pixel at (0.5, 0.5).
COLMAP has the same pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vnp_core.errors import CameraError

ROTATION_TOLERANCE = 1e-3
"""The largest entry of R^T R - I that still passes for a rotation: files carry about five digits."""

_FLIP_Y_AND_Z = (1.0, -1.0, -1.0)


@dataclass(frozen=True, eq=False)
class Cameras:
    """V pinhole cameras: poses and intrinsics (fx, fy, cx, cy) in float32, sizes (height, width) in int64."""

    camera_to_world: Float[Tensor, "V 3 4"]
    intrinsics: Float[Tensor, "V 4"]
    sizes: Int[Tensor, "V 2"]

    def __len__(self) -> int:
        return self.camera_to_world.shape[0]

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> "Cameras":
        """The chosen cameras; a single number gives a `Cameras` of length one."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"camera {index} of {len(self)}")
            index = [index]
        chosen = (
            index if isinstance(index, slice | Tensor) else torch.as_tensor(list(index), dtype=torch.int64)
        )
        return Cameras(self.camera_to_world[chosen], self.intrinsics[chosen], self.sizes[chosen])

    @property
    def positions(self) -> Float[Tensor, "V 3"]:
        """Where the cameras stand."""
        return self.camera_to_world[:, :, 3]

    @property
    def forwards(self) -> Float[Tensor, "V 3"]:
        """The unit vectors along which the cameras look."""
        return -self.camera_to_world[:, :, 2]

    @property
    def ups(self) -> Float[Tensor, "V 3"]:
        """The unit vectors that are up in the pictures."""
        return self.camera_to_world[:, :, 1]

    def to(self, device: torch.device | str) -> "Cameras":
        """The same cameras on another device."""
        return Cameras(self.camera_to_world.to(device), self.intrinsics.to(device), self.sizes.to(device))

    def scaled_to(self, height: int, width: int) -> "Cameras":
        """The same cameras with pictures of another size; the field of view stays."""
        sizes = torch.tensor([height, width], dtype=torch.int64, device=self.sizes.device).expand_as(
            self.sizes
        )
        y_factor, x_factor = (sizes / self.sizes).to(self.intrinsics.dtype).unbind(-1)
        factors = torch.stack([x_factor, y_factor, x_factor, y_factor], dim=-1)
        return Cameras(self.camera_to_world, self.intrinsics * factors, sizes.clone())

    def framed_as(self, height: int, width: int) -> "Cameras":
        """The same cameras with pictures of another shape, not stretched: as much is seen from top to bottom,
        and to both sides as much as there is room for.
        """
        sizes = torch.tensor([height, width], dtype=torch.int64, device=self.sizes.device)
        old_height, old_width = self.sizes.to(self.intrinsics.dtype).unbind(-1)
        fx, fy, cx, cy = (self.intrinsics * (height / old_height)[:, None]).unbind(-1)
        cx = cx + (width - old_width * height / old_height) / 2
        intrinsics = torch.stack([fx, fy, cx, cy], dim=-1)
        return Cameras(self.camera_to_world, intrinsics, sizes.expand_as(self.sizes).clone())

    def validate(self, where: str = "cameras", names: Sequence[str] | None = None) -> None:
        """Raises `CameraError`, naming the first bad view, unless all of them are pinhole cameras.

        where: what to call the whole in the error's text. names: what to call the views; else their numbers.
        """
        rotation = self.camera_to_world[:, :, :3].double()
        fx, fy = self.intrinsics[:, 0], self.intrinsics[:, 1]
        identity = torch.eye(3, dtype=torch.float64, device=rotation.device)
        skew = (rotation.transpose(-1, -2) @ rotation - identity).abs().amax(dim=(-1, -2))
        checks = [
            (~self.camera_to_world.isfinite().all(dim=(-1, -2)), "its pose holds NaN or infinity"),
            (
                torch.linalg.det(rotation) < 0,
                "its pose is a reflection (determinant below 0): one axis has the wrong sign",
            ),
            (
                ~(skew <= ROTATION_TOLERANCE),
                "its pose is no rotation: its axes must be of unit length and at right angles",
            ),
            (
                ~self.intrinsics.isfinite().all(dim=-1),
                "its focal length or principal point holds NaN or infinity",
            ),
            (~((fx > 0) & (fy > 0)), "its focal length is not positive"),
            (~(self.sizes > 0).all(dim=-1), "its picture has no pixels"),
        ]
        for bad, reason in checks:
            if bool(bad.any()):
                first = int(bad.nonzero()[0, 0])
                name = names[first] if names is not None else str(first)
                pose = [[round(value, 5) for value in row] for row in self.camera_to_world[first].tolist()]
                raise CameraError(
                    f"{where}: view {name}: {reason}. Given: camera-to-world {pose}, (fx, fy, cx, cy) "
                    f"{self.intrinsics[first].tolist()}, (height, width) {self.sizes[first].tolist()}. "
                    f"Expected: an OpenGL camera-to-world pose and a pinhole camera in pixels."
                )


def pixel_rays(
    camera_to_world: Float[Tensor, "*batch 3 4"],
    intrinsics: Float[Tensor, "*batch 4"],
    pixels: Float[Tensor, "*batch 2"],
) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3"]]:
    """Origins and unit directions of the rays through points (x, y) of pictures, in pixels.

    Leading axes broadcast.
    """
    fx, fy, cx, cy = intrinsics.unbind(-1)
    x = (pixels[..., 0] - cx) / fx
    y = -(pixels[..., 1] - cy) / fy
    right, up, backward, origin = camera_to_world.unbind(-1)
    directions = x[..., None] * right + y[..., None] * up - backward
    directions = directions / directions.norm(dim=-1, keepdim=True)
    return origin.expand_as(directions), directions


def picture_rays(
    camera_to_world: Float[Tensor, "3 4"], intrinsics: Float[Tensor, "4"], height: int, width: int
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W 3"]]:
    """Origins and unit directions of the rays through all pixel centres of one picture."""
    return pixel_rays(
        camera_to_world, intrinsics, pixel_centres(height, width, device=camera_to_world.device)
    )


def pixel_centres(height: int, width: int, device: torch.device | str = "cpu") -> Float[Tensor, "H W 2"]:
    """(x, y) of all pixel centres."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device) + 0.5, torch.arange(width, device=device) + 0.5, indexing="ij"
    )
    return torch.stack([x, y], dim=-1)


def project(
    points: Float[Tensor, "*batch 3"],
    camera_to_world: Float[Tensor, "*batch 3 4"],
    intrinsics: Float[Tensor, "*batch 4"],
) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"]]:
    """Pixels (x, y) at which points appear, and their depth along the optical axis (positive in front).

    Leading axes broadcast. Pixels of points with depth <= 0 are finite and mean nothing: check the depth.
    """
    fx, fy, cx, cy = intrinsics.unbind(-1)
    right, up, backward, origin = camera_to_world.unbind(-1)
    offset = points - origin
    depth = -(offset * backward).sum(-1)
    nonzero = torch.where(depth.abs() < 1e-8, torch.full_like(depth, 1e-8), depth)
    x = cx + fx * (offset * right).sum(-1) / nonzero
    y = cy - fy * (offset * up).sum(-1) / nonzero
    return torch.stack([x, y], dim=-1), depth


def look_at(
    position: Float[Tensor, "*batch 3"] | Sequence[float],
    target: Float[Tensor, "*batch 3"] | Sequence[float] = (0.0, 0.0, 0.0),
    up: Float[Tensor, "*batch 3"] | Sequence[float] = (0.0, 0.0, 1.0),
) -> Float[Tensor, "*batch 3 4"]:
    """The pose of a camera at `position` that looks at `target`, with `up` upright in its picture.

    Where it looks along `up` itself, y takes the place of `up` (or x, if `up` is y).
    """
    place = torch.as_tensor(position, dtype=torch.float32)
    backward = place - torch.as_tensor(target, dtype=torch.float32)
    distance = backward.norm(dim=-1, keepdim=True)
    if bool((distance < 1e-9).any()):
        raise CameraError(
            "look_at: the camera stands on the point that it is told to look at; move one of them."
        )
    backward = backward / distance
    upright = torch.as_tensor(up, dtype=torch.float32).expand_as(backward)
    upright = upright / upright.norm(dim=-1, keepdim=True)
    parallel = torch.linalg.cross(upright, backward).norm(dim=-1, keepdim=True) < 1e-5
    spare = torch.where(
        upright[..., 1:2].abs() < 0.9, backward.new_tensor([0.0, 1, 0]), backward.new_tensor([1.0, 0, 0])
    )
    right = torch.linalg.cross(torch.where(parallel, spare, upright), backward)
    right = right / right.norm(dim=-1, keepdim=True)
    return torch.stack([right, torch.linalg.cross(backward, right), backward, place], dim=-1)


def orbit_cameras(
    count: int, distance: float, elevation: float, field_of_view: float, height: int, width: int
) -> Cameras:
    """Cameras on a level circle about the origin, z up: the first above the x axis, the others anticlockwise.

    distance: to the origin. elevation: above the xy plane, degrees. field_of_view: horizontal, degrees, in
    (0, 180); `CameraError` for another.
    """
    if not 0 < field_of_view < 180:
        raise CameraError(
            f"orbit_cameras: a field of view of {field_of_view} degrees; it must lie between 0 and 180."
        )
    azimuth = torch.arange(count, dtype=torch.float64) * (2 * math.pi / max(count, 1))
    level = distance * math.cos(math.radians(elevation))
    altitude = torch.full_like(azimuth, distance * math.sin(math.radians(elevation)))
    positions = torch.stack([level * azimuth.cos(), level * azimuth.sin(), altitude], dim=-1).float()
    focal = 0.5 * width / math.tan(0.5 * math.radians(field_of_view))
    intrinsics = torch.tensor([focal, focal, width / 2, height / 2]).repeat(count, 1)
    return Cameras(look_at(positions), intrinsics, torch.tensor([[height, width]]).repeat(count, 1))


def opengl_from_opencv(camera_to_world: Float[Tensor, "*batch 3 4"]) -> Float[Tensor, "*batch 3 4"]:
    """A pose whose camera looks along +z with y down (OpenCV) as one that looks along -z with y up."""
    return camera_to_world * camera_to_world.new_tensor([*_FLIP_Y_AND_Z, 1.0])


def opencv_from_opengl(camera_to_world: Float[Tensor, "*batch 3 4"]) -> Float[Tensor, "*batch 3 4"]:
    """The inverse of `opengl_from_opencv`, which is its own inverse."""
    return opengl_from_opencv(camera_to_world)


def opengl_from_colmap(
    quaternion: Float[Tensor, "*batch 4"], translation: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 4"]:
    """COLMAP's world-to-camera quaternion (w, x, y, z; any length but 0) and translation, as our pose."""
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=-1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=-1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=-1),
    ]
    camera_to_world = torch.stack(rows, dim=-2).transpose(-1, -2)
    position = -(camera_to_world @ translation[..., None])
    return opengl_from_opencv(torch.cat([camera_to_world, position], dim=-1))


def colmap_from_opengl(
    camera_to_world: Float[Tensor, "*batch 3 4"],
) -> tuple[Float[Tensor, "*batch 4"], Float[Tensor, "*batch 3"]]:
    """Our pose as COLMAP's world-to-camera unit quaternion (w, x, y, z; w >= 0) and translation."""
    pose = opencv_from_opengl(camera_to_world)
    rotation = pose[..., :3].transpose(-1, -2)
    translation = -(rotation @ pose[..., 3:]).squeeze(-1)
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in rotation.double().unbind(-2))
    # For every rotation the quaternion is the top eigenvector of this matrix: no cases by the trace's sign.
    rows = [
        torch.stack([xx + yy + zz, zy - yz, xz - zx, yx - xy], dim=-1),
        torch.stack([zy - yz, xx - yy - zz, xy + yx, xz + zx], dim=-1),
        torch.stack([xz - zx, xy + yx, yy - xx - zz, yz + zy], dim=-1),
        torch.stack([yx - xy, xz + zx, yz + zy, zz - xx - yy], dim=-1),
    ]
    quaternion = torch.linalg.eigh(torch.stack(rows, dim=-2)).eigenvectors[..., -1]
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    return quaternion.to(camera_to_world.dtype), translation
