"""Meshes from files, through trimesh: OBJ with MTL, glTF, PLY, STL and whatever else it reads."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Float32, UInt8
from PIL import Image

from vnp_core.errors import ConfigError, DataError, MissingDependencyError, SceneNotFoundError
from vnp_nerf.making.mesh import Material, Mesh, join_meshes

SUFFIXES = (".obj", ".glb", ".gltf", ".ply", ".stl", ".off", ".3mf", ".dae")
Z_UP_FROM_Y_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
Y_UP_SUFFIXES = (".obj", ".glb", ".gltf")
_LINEAR_SUFFIXES = (".glb", ".gltf")
"""Of files whose vertices have colours in linear light."""


def mesh_files(folder: Path) -> list[Path]:
    """All mesh files under `folder`, sorted by path.

    Raises:
        SceneNotFoundError: there is no such folder, or no file with a known ending in it.
    """
    if not folder.is_dir():
        raise SceneNotFoundError(f"{folder} is no folder; give one that holds mesh files")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise SceneNotFoundError(f"no mesh file under {folder}; known endings: {', '.join(SUFFIXES)}")
    return files


def load_mesh(path: Path, y_up: bool | None = None) -> Mesh:
    """The mesh in a file, z up.

    Args:
        path: any file that trimesh loads.
        y_up: whether the file's up is y; None takes the format's habit (OBJ and glTF: y, others: z).

    Raises:
        DataError: the file can't be read, or holds no triangle.
        MissingDependencyError: trimesh isn't installed.
    """
    try:
        import trimesh
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "trimesh isn't installed, and reading meshes needs it: pip install trimesh"
        ) from error
    try:
        # process=True would merge vertices that differ in UV alone, which breaks every seam.
        scene = trimesh.load_scene(path, process=False)
        parts = [
            _part(scene.geometry[name], transform, linear=path.suffix.lower() in _LINEAR_SUFFIXES)
            for transform, name in (scene.graph[node] for node in scene.graph.nodes_geometry)
            if isinstance(scene.geometry[name], trimesh.Trimesh) and len(scene.geometry[name].faces)
        ]
    except Exception as error:  # trimesh's readers raise whatever their parsers do
        raise DataError(f"{path} can't be read as a mesh: {type(error).__name__}: {error}") from error
    if not parts:
        raise DataError(f"{path} holds no triangle; give a file with faces")
    mesh = join_meshes(parts)
    if path.suffix.lower() in Y_UP_SUFFIXES if y_up is None else y_up:
        mesh = mesh.rotated(Z_UP_FROM_Y_UP)
    return mesh


def _part(geometry: Any, transform: Float32[np.ndarray, "4 4"], *, linear: bool) -> Mesh:
    """One trimesh geometry, placed by its node's transform; `linear` says that its vertices' colours are."""
    faces = np.asarray(geometry.faces)
    turned = np.asarray(transform[:3, :3], np.float64)
    vertices = np.asarray(geometry.vertices) @ turned.T + transform[:3, 3]
    normals = None
    # Normals that the file gave lie in the cache from the start. Computing them would smooth over hard edges.
    if "vertex_normals" in geometry._cache:
        smooth = np.asarray(geometry.vertex_normals) @ np.linalg.inv(turned)
        length = np.linalg.norm(smooth, axis=1, keepdims=True)
        normals = np.divide(smooth, length, out=np.zeros_like(smooth), where=length > 0).astype(np.float32)[
            faces
        ]
    materials, uvs, tints, colours = (Material(),), None, None, None
    if geometry.visual.kind == "texture":
        materials = (_material(geometry.visual.material),)
        if geometry.visual.uv is not None and len(geometry.visual.uv) == len(vertices):
            uvs = np.nan_to_num(np.asarray(geometry.visual.uv, np.float32))[faces]
        # glTF's colours of vertices, which multiply the material's.
        colours = geometry.visual.vertex_attributes.get("color")
    elif geometry.visual.kind == "vertex":
        materials, colours = (Material((1.0, 1.0, 1.0)),), geometry.visual.vertex_colors
    elif geometry.visual.kind == "face":
        materials = (Material((1.0, 1.0, 1.0)),)
        tints = np.repeat((np.asarray(geometry.visual.face_colors, np.float32) / 255)[:, None], 3, axis=1)
    if colours is not None and len(colours) == len(vertices):
        from trimesh.visual.color import to_rgba

        rgba = np.asarray(to_rgba(colours), np.float32) / 255
        tints = (np.hstack([srgb_from_linear(rgba[:, :3]), rgba[:, 3:]]) if linear else rgba)[faces]
    if uvs is None and materials[0].texture is not None:
        mean = materials[0].texture.reshape(-1, 4).mean(axis=0) / 255
        materials = (Material(tuple(mean[:3].tolist()), float(mean[3]) * materials[0].alpha),)
    return Mesh(
        corners=vertices.astype(np.float32)[faces],
        materials=np.zeros(len(faces), np.int64),
        palette=materials,
        normals=normals,
        uvs=uvs,
        tints=tints,
    )


def _material(material: Any) -> Material:
    """Ours from trimesh's. glTF colours are linear and multiply the texture; MTL colours give way to it."""
    if hasattr(material, "baseColorFactor"):
        # trimesh keeps the factor in bytes.
        given = material.baseColorFactor
        factor = np.ones(4) if given is None else np.asarray(given, np.float64) / 255
        texture = _pixels(material.baseColorTexture)
        blended = str(material.alphaMode or "OPAQUE").upper() != "OPAQUE"
        if texture is not None and not blended:
            texture = np.concatenate([texture[..., :3], np.full_like(texture[..., 3:], 255)], axis=-1)
        return Material(
            tuple(srgb_from_linear(factor[:3]).tolist()), float(factor[3]) if blended else 1.0, texture
        )
    texture = _pixels(getattr(material, "image", None))
    options = getattr(material, "kwargs", None) or {}
    alpha = 1.0
    if "d" in options:
        alpha = float(options["d"][-1])
    elif "tr" in options:
        alpha = 1.0 - float(options["tr"][-1])
    diffuse = options.get("kd", (0.8, 0.8, 0.8))
    diffuse = np.clip(np.broadcast_to(np.asarray(diffuse, np.float64), 3), 0, 1)
    colour = (1.0, 1.0, 1.0) if texture is not None else tuple(diffuse.tolist())
    return Material(colour, float(np.clip(alpha, 0, 1)), texture)


def _pixels(picture: Image.Image | None) -> UInt8[np.ndarray, "H W 4"] | None:
    return None if picture is None else np.asarray(picture.convert("RGBA"))


def srgb_from_linear(linear: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """The sRGB transfer curve (IEC 61966-2-1), both sides in 0..1."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def z_up_rotation(numbers: list[float]) -> Float32[np.ndarray, "3 3"]:
    """Row-major rotation of a y-up model, as the rotation that does the same once z is up."""
    rotation = rearrange(np.array(numbers, np.float32), "(i j) -> i j", i=3)
    return Z_UP_FROM_Y_UP @ rotation @ Z_UP_FROM_Y_UP.T


def mesh_sources(files: list[Path], folder: Path, up: str | None) -> dict[str, tuple[Path, bool | None]]:
    """Id (from the path below `folder`) -> what `load_source` takes."""
    if up not in (None, "y", "z"):
        raise ConfigError(f"up is {up!r}; give y or z, or leave it out")
    y_up = None if up is None else up == "y"
    sources: dict[str, tuple[Path, bool | None]] = {}
    for path in files:
        inner = path.relative_to(folder)
        name = re.sub(r"[^A-Za-z0-9]+", "-", inner.with_suffix("").as_posix()).strip("-") or "object"
        if name in sources:
            name = f"{name}-{path.suffix[1:].lower()}"
        while name in sources:
            name += "-2"
        sources[name] = (path, y_up)
    return sources


def split_sources(sources: Iterable[str]) -> dict[str, list[str]]:
    """About a tenth each for `val` and `test`, by a hash of the id: objects that are added later leave the
    others where they are. Few objects are an exception, of which each split gets one at least, and fewer than
    three all train.
    """
    places = {name: int(hashlib.sha256(name.encode()).hexdigest()[:15], 16) / 16**15 for name in sources}
    ordered = sorted(places, key=lambda name: (places[name], name))
    if len(ordered) < 3:
        return {"train": sorted(ordered), "val": [], "test": []}
    first = min(max(1, sum(place < 0.1 for place in places.values())), len(ordered) - 2)
    last = min(max(first + 1, sum(place < 0.2 for place in places.values())), len(ordered) - 1)
    return {
        "train": sorted(ordered[last:]),
        "val": sorted(ordered[:first]),
        "test": sorted(ordered[first:last]),
    }


def load_source(source: tuple[Path, bool | None]) -> Mesh:
    """`load_mesh` for one argument, as worker processes call it."""
    return load_mesh(*source)
