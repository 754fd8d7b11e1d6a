"""The object as the list of the cells that it fills."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from vnp_nerf.exporting.grids import FieldGrid
from vnp_nerf.exporting.new_files import write_new
from vnp_nerf.exporting.point_sets import PointSet
from vnp_nerf.frames import Similarity


@dataclass(frozen=True, eq=False)
class Voxels:
    """The occupied ones of `side` x `side` x `side` cells.

    centres: their middles and what the field holds there. indices: their numbers. density: 1 / length unit of
    the frame. to_frame: takes (i, j, k, 1) with cell numbers to a middle in the frame; its columns are a
    cell's edges.
    """

    centres: PointSet
    indices: Int[np.ndarray, "N 3"]
    density: Float[np.ndarray, "N"]
    to_frame: Float[np.ndarray, "4 4"]
    side: int

    def moved(self, frame: Similarity) -> "Voxels":
        """The same cells in the frame that `frame` leads to."""
        return replace(
            self,
            centres=self.centres.moved(frame),
            density=self.density / frame.scale,
            to_frame=frame.to_matrix().numpy() @ self.to_frame,
        )


def grid_to_voxels(grid: FieldGrid) -> Voxels:
    """The cells at whose centres density reaches the grid's threshold; model frame."""
    indices = np.argwhere(grid.occupied)
    to_frame = np.diag([grid.edge] * 3 + [1.0])
    to_frame[:3, 3] = grid.edge / 2 - grid.radius
    return Voxels(
        grid.cells(indices), indices, grid.density[tuple(indices.T)], to_frame, side=len(grid.density)
    )


def write_voxels(path: Path, voxels: Voxels, notes: Mapping[str, str] | None = None) -> Path:
    """An .npz that numpy reads without unpickling. Raises `OutputExistsError`.

    indices [N, 3] int32, rgb [N, 3] bytes, density, sigma_colour, sigma_density [N] float32, to_frame [4, 4]
    float64, shape [3], and notes: JSON text.
    """
    text = json.dumps({**(notes or {}), "sigma": voxels.centres.sigma_note()})
    content = io.BytesIO()
    np.savez_compressed(
        content,
        indices=voxels.indices.astype(np.int32),
        rgb=(voxels.centres.rgb.clip(0, 1) * 255).round().astype(np.uint8),
        density=voxels.density.astype(np.float32),
        sigma_colour=voxels.centres.colour_sigma.astype(np.float32),
        sigma_density=voxels.centres.density_sigma.astype(np.float32),
        to_frame=voxels.to_frame,
        shape=np.array([voxels.side] * 3),
        notes=np.array(text),
    )
    write_new({path: content.getvalue()})
    return path
