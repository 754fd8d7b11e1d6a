"""Posed pictures as the model takes them: several views of several scenes in one padded block."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from vnp_core.errors import DataError, ViewCountError
from vnp_nerf.cameras import Cameras
from vnp_nerf.scene import Scene


@dataclass(eq=False)
class Views:
    """V views of each of B scenes, in the model's frame.

    rgba: 0 to 1, straight alpha, 0 beyond a picture's own size at the bottom and the right. sizes: (height,
    width) of the true pixels. mask: True where there is a view. A padded view is black, of size 0 x 0, at the
    identity pose with intrinsics (1, 1, 0, 0), so that its rays are finite.
    """

    rgba: Float[Tensor, "B V 4 H W"]
    camera_to_world: Float[Tensor, "B V 3 4"]
    intrinsics: Float[Tensor, "B V 4"]
    sizes: Int[Tensor, "B V 2"]
    mask: Bool[Tensor, "B V"]

    @property
    def batch(self) -> int:
        """The number of scenes, B."""
        return self.rgba.shape[0]

    @property
    def count(self) -> int:
        """The number of views, V, padded ones included."""
        return self.rgba.shape[1]

    @classmethod
    def empty(
        cls, batch: int, height: int = 1, width: int = 1, device: torch.device | str = "cpu"
    ) -> "Views":
        """No views at all of `batch` scenes: a legal context."""
        return cls.padding(batch, 0, height, width, device)

    @classmethod
    def padding(
        cls, batch: int, count: int, height: int, width: int, device: torch.device | str = "cpu"
    ) -> "Views":
        """A block of padded views, to be filled or appended."""
        return cls(
            rgba=torch.zeros(batch, count, 4, height, width, device=device),
            camera_to_world=torch.eye(3, 4, device=device).expand(batch, count, 3, 4).clone(),
            intrinsics=torch.tensor([1.0, 1.0, 0.0, 0.0], device=device).expand(batch, count, 4).clone(),
            sizes=torch.zeros(batch, count, 2, dtype=torch.int64, device=device),
            mask=torch.zeros(batch, count, dtype=torch.bool, device=device),
        )

    def or_padding(self, side: int) -> "Views":
        """The same; where there is no view at all, one of padding, for what needs at least one."""
        return self if self.count else Views.padding(self.batch, 1, side, side, self.mask.device)

    @classmethod
    def from_scene(cls, scene: Scene, indices: Sequence[int]) -> "Views":
        """The chosen views of a scene, B = 1. Raises `ViewCountError` for a number that the scene has not."""
        missing = [index for index in indices if not 0 <= index < len(scene)]
        if missing:
            raise ViewCountError(
                f"{scene.path}: views {missing} were asked for, but it has the views 0 to {len(scene) - 1}."
            )
        return cls.from_pictures(
            [scene.picture(index) for index in indices], scene.model_cameras()[list(indices)]
        )

    @classmethod
    def from_pictures(cls, pictures: Sequence[UInt8[np.ndarray, "h w 4"]], cameras: Cameras) -> "Views":
        """Straight-alpha RGBA pictures and their cameras (in the model's frame), B = 1."""
        if len(pictures) != len(cameras):
            raise DataError(f"{len(pictures)} pictures came with {len(cameras)} cameras; each needs its own.")
        sizes = torch.tensor([picture.shape[:2] for picture in pictures], dtype=torch.int64).reshape(-1, 2)
        height, width = sizes.amax(dim=0).tolist() if len(pictures) else (1, 1)
        padded = np.zeros((1, len(pictures), height, width, 4), dtype=np.uint8)
        for index, picture in enumerate(pictures):
            padded[0, index, : picture.shape[0], : picture.shape[1]] = picture
        return cls(
            rgba=unit_range(torch.from_numpy(padded)),
            camera_to_world=cameras.camera_to_world[None],
            intrinsics=cameras.intrinsics[None],
            sizes=sizes[None],
            mask=torch.ones(1, len(pictures), dtype=torch.bool),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Views":
        """The same views on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def select_views(self, indices: Sequence[int] | slice | Int[Tensor, "n"]) -> "Views":
        """The same views of every scene; repeats are legal."""
        if not isinstance(indices, slice | Tensor):
            indices = torch.as_tensor(list(indices), dtype=torch.int64, device=self.mask.device)
        return self._map(lambda tensor: tensor[:, indices])

    def select_scenes(self, indices: Sequence[int] | slice | Int[Tensor, "n"]) -> "Views":
        """All views of some scenes; repeats are legal."""
        if not isinstance(indices, slice | Tensor):
            indices = torch.as_tensor(list(indices), dtype=torch.int64, device=self.mask.device)
        return self._map(lambda tensor: tensor[indices])

    def cat_views(self, other: "Views") -> "Views":
        """These views and then the other's, scene by scene. Pictures are padded to the larger size."""
        if self.batch != other.batch:
            raise DataError(f"Views of {self.batch} scenes cannot be joined with views of {other.batch}.")
        height, width = _largest([self, other])
        return _joined([view._padded(view.count, height, width) for view in (self, other)], dim=1)

    def shrunk(self, factor: int) -> "Views":
        """The same views by smaller pictures, whose pixels are the averages of `factor` x `factor`; rows and
        columns that are left over are cut off. Raises `DataError` for pictures that nothing would be left of.
        """
        if factor == 1 or self.count == 0:
            return self
        if bool((self.sizes[self.mask] < factor).any()):
            least = int(self.sizes[self.mask].min())
            raise DataError(
                f"pictures of {least} pixels cannot be made smaller by {factor}: give a lower factor"
            )
        flat = F.avg_pool2d(rearrange(premultiply(self.rgba), "B V C H W -> (B V) C H W"), factor)
        mixed = rearrange(flat, "(B V) C h w -> B V C h w", B=self.batch)
        sizes = self.sizes // factor
        height, width = mixed.shape[-2:]
        inside = (torch.arange(height, device=sizes.device) < sizes[..., :1])[..., :, None] & (
            torch.arange(width, device=sizes.device) < sizes[..., 1:]
        )[..., None, :]
        alpha = mixed[:, :, 3:] * inside[:, :, None]
        colour = mixed[:, :, :3] / alpha.clamp_min(1e-6) * (alpha > 0)
        rgba = torch.cat([colour.clamp(0, 1), alpha], dim=2)
        intrinsics = torch.where(self.mask[..., None], self.intrinsics / factor, self.intrinsics)
        return replace(self, rgba=rgba, intrinsics=intrinsics, sizes=sizes)

    @staticmethod
    def stack(parts: Sequence["Views"]) -> "Views":
        """All scenes of all parts in one block, padded to the most views and the largest pictures."""
        if not parts:
            raise DataError("Views.stack was given no views.")
        height, width = _largest(parts)
        count = max(part.count for part in parts)
        return _joined([part._padded(count, height, width) for part in parts], dim=0)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Views":
        return Views(*(change(getattr(self, name)) for name in _FIELDS))

    def _padded(self, count: int, height: int, width: int) -> "Views":
        if (count, height, width) == (self.count, *self.rgba.shape[-2:]):
            return self
        grown = Views.padding(self.batch, count, height, width, self.rgba.device)
        grown.rgba[:, : self.count, :, : self.rgba.shape[-2], : self.rgba.shape[-1]] = self.rgba
        for name in _FIELDS[1:]:
            getattr(grown, name)[:, : self.count] = getattr(self, name)
        return grown


_FIELDS = ("rgba", "camera_to_world", "intrinsics", "sizes", "mask")


def premultiply(rgba: Float[Tensor, "*B 4 H W"]) -> Float[Tensor, "*B 4 H W"]:
    """Straight to premultiplied alpha, so that averages do not mix in the colour of what is transparent."""
    return torch.cat([rgba[..., :3, :, :] * rgba[..., 3:, :, :], rgba[..., 3:, :, :]], dim=-3)


def unit_range(pixels: UInt8[Tensor, "B V H W 4"]) -> Float[Tensor, "B V 4 H W"]:
    """Bytes, channels last, as floats from 0 to 1, channels first."""
    return rearrange(pixels, "b v h w c -> b v c h w").float().contiguous() / 255


def _largest(parts: Sequence[Views]) -> tuple[int, int]:
    return max(part.rgba.shape[-2] for part in parts), max(part.rgba.shape[-1] for part in parts)


def _joined(parts: Sequence[Views], dim: int) -> Views:
    return Views(*(torch.cat([getattr(part, name) for part in parts], dim=dim) for name in _FIELDS))
