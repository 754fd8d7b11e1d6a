"""3D Gaussian splats that absorb what the field absorbs.

A round Gaussian of standard deviation s and opacity a takes, summed over all parallel rays that pass it, an
optical depth of 2 pi s^2 Li2(a): the integral of -log(1 - a exp(-r^2 / 2 s^2)) over the plane, where Li2 is
the dilogarithm. One Gaussian in each cell of edge e must take density * e^3, so Li2(a) = density e^3 / (2 pi
s^2), whichever way one looks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vnp_core.errors import MissingDependencyError
from vnp_nerf.exporting.grids import FieldGrid
from vnp_nerf.exporting.new_files import write_new
from vnp_nerf.exporting.ply import ply_bytes, points_bytes
from vnp_nerf.exporting.point_sets import PointSet
from vnp_nerf.frames import Similarity

SPREAD = 0.5
"""Standard deviation of a Gaussian, cell edges: a layer of them then varies by 3 % between its Gaussians."""
_MOST_OPAQUE = 0.99
"""Splat renderers go no higher."""
_HIDDEN_BEHIND = 5.0
"""Cells farther than this inside of cells that each absorb 1 - 1/e of the light are left out: about a
hundredth of it gets there.
"""
_HARMONIC = 0.5 / np.sqrt(np.pi)
"""The constant spherical harmonic, in which splat files give colours."""
_HIGHER_HARMONICS = 45
"""Of degrees 1 to 3, for three channels; they are 0, for the colour is the same from all sides."""


@dataclass(frozen=True, eq=False)
class Splats:
    """Round Gaussians, all of one size.

    opacity: at a Gaussian's middle, 0 to 1. deviation: their standard deviation, length units of the frame.
    """

    centres: PointSet
    opacity: Float[np.ndarray, "N"]
    deviation: float

    def moved(self, frame: Similarity) -> "Splats":
        """The same Gaussians in the frame that `frame` leads to; round ones need no turning."""
        return replace(self, centres=self.centres.moved(frame), deviation=self.deviation * frame.scale)


def grid_to_splats(grid: FieldGrid) -> Splats:
    """A Gaussian for each visible cell that is not buried deep in the object; model frame."""
    try:
        from scipy.ndimage import distance_transform_edt
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "scipy is not installed, and splats need it: pip install scipy"
        ) from error
    thick = np.pad(grid.density * grid.edge >= 1.0, 1)
    depth = np.asarray(distance_transform_edt(thick))[1:-1, 1:-1, 1:-1]
    indices = np.argwhere(grid.visible & (depth <= _HIDDEN_BEHIND))
    thickness = grid.density[tuple(indices.T)].astype(np.float64) * grid.edge
    opacity = _opacity(thickness / (2 * np.pi * SPREAD**2))
    return Splats(grid.cells(indices), opacity, SPREAD * grid.edge)


def write_splats(path: Path, splats: Splats, notes: Mapping[str, str] | None = None) -> Path:
    """The PLY of the first 3D Gaussian splatting (Kerbl et al. 2023), which splat viewers open.

    Some of them read records of exactly 62 numbers, others refuse a header with comments. So sigma and the
    notes go to a second file NAME_sigma.ply: the same centres in the same order. Raises `OutputExistsError`.
    """
    centres, count = splats.centres, len(splats.centres)
    zeros = np.zeros(count)
    harmonics = (centres.rgb - 0.5) / _HARMONIC
    columns = {name: centres.points[:, axis] for axis, name in enumerate("xyz")}
    columns |= dict.fromkeys(("nx", "ny", "nz"), zeros)
    columns |= {f"f_dc_{channel}": harmonics[:, channel] for channel in range(3)}
    columns |= {f"f_rest_{number}": zeros for number in range(_HIGHER_HARMONICS)}
    columns["opacity"] = np.log(splats.opacity) - np.log1p(-splats.opacity)  # files hold logits
    columns |= {f"scale_{axis}": np.full(count, np.log(splats.deviation)) for axis in range(3)}
    columns |= {f"rot_{part}": np.full(count, float(part == 0)) for part in range(4)}  # w x y z
    write_new({path: ply_bytes(columns), sigma_path(path): points_bytes(centres, notes)})
    return path


def sigma_path(path: Path) -> Path:
    """The file of the sigmas and notes that belong to a splat file."""
    return path.with_name(f"{path.stem}_sigma.ply")


def _opacity(dilogarithm: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """The opacity a with Li2(a) = `dilogarithm`, at most 0.99."""
    from scipy.special import spence

    # Dense towards both ends, where the inverse bends; spence(1 - a) is Li2(a).
    table = np.sin(np.linspace(0, np.pi / 2, 4097)) ** 2
    return np.interp(dilogarithm, spence(1 - table), table).clip(1e-6, _MOST_OPAQUE)
