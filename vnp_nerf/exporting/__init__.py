"""Exports of a field: meshes, points, voxels and Gaussian splats, each with the field's own uncertainty."""

from vnp_nerf.exporting.glb import write_glb
from vnp_nerf.exporting.grids import FieldGrid, field_to_grid
from vnp_nerf.exporting.meshes import SurfaceMesh, grid_to_mesh, mesh_to_points
from vnp_nerf.exporting.ply import write_mesh, write_points
from vnp_nerf.exporting.point_sets import PointSet
from vnp_nerf.exporting.splats import Splats, grid_to_splats, write_splats
from vnp_nerf.exporting.voxels import Voxels, grid_to_voxels, write_voxels

__all__ = [
    "FieldGrid",
    "PointSet",
    "Splats",
    "SurfaceMesh",
    "Voxels",
    "field_to_grid",
    "grid_to_mesh",
    "grid_to_splats",
    "grid_to_voxels",
    "mesh_to_points",
    "write_glb",
    "write_mesh",
    "write_points",
    "write_splats",
    "write_voxels",
]
