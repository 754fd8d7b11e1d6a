"""What the fuzz tests feed to which reader: mutations of a good file each."""

import copy
import gzip
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from fuzz_mutations import HOSTILE_PARTS, as_json, byte_mutations, json_mutations
from hypothesis import strategies as st
from PIL import Image
from smallest import SMALLEST

from vnp_core.results import Row, Stopwatch, read_results, write_results
from vnp_core.tasks.csv_tasks import read_csv_functions
from vnp_core.tasks.idx_files import read_idx
from vnp_nerf.baked_field import BakedGrid
from vnp_nerf.baked_file import BakedCard, open_baked, save_baked
from vnp_nerf.cameras import opencv_from_opengl, orbit_cameras
from vnp_nerf.frames import Similarity
from vnp_nerf.library import build_model, load_model, save_model
from vnp_nerf.making.meshes import load_mesh
from vnp_nerf.pairs import read_pairs
from vnp_nerf.pictures import picture_size, read_mask, read_rgba
from vnp_nerf.readers import open_collection, open_scene

PAIRS = Path(__file__).resolve().parents[2] / "data" / "pairs" / "furniture.json"


class Target(NamedTuple):
    """A reader, and what it is given."""

    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], object]


def scene_target(root: Path, nerfstudio: bool) -> Target:
    folder = root / f"scene_{nerfstudio}"
    folder.mkdir()
    cameras = orbit_cameras(3, 4.0, 25.0, 40.0, 4, 5)
    frames = []
    for view, pose in enumerate(cameras.camera_to_world.tolist()):
        Image.fromarray(np.full((4, 5, 4), 60 * view, np.uint8)).save(folder / f"r_{view}.png")
        frames.append(
            {
                "file_path": f"r_{view}.png",
                "transform_matrix": [*pose, [0, 0, 0, 1]],
                "mask_path": f"r_{view}.png",
            }
        )
    meta: dict[str, Any] = {"camera_angle_x": 0.7, "near": 2.0, "far": 6.0, "frames": frames}
    if nerfstudio:
        meta = {"fl_x": 6.0, "fl_y": 6.0, "cx": 2.5, "cy": 2.0, "w": 5, "h": 4, "k1": 0.01, "frames": frames}
        meta |= {"train_filenames": ["r_0.png"], "bounding_centre": [0, 0, 0], "bounding_radius": 1.0}

    def read(content: bytes) -> None:
        (folder / "transforms.json").write_bytes(content)
        scene = open_scene(folder)
        assert bool(scene.model_cameras().camera_to_world.isfinite().all())
        assert scene.picture(0).dtype == np.uint8

    mutated = json_mutations(meta).map(as_json)
    return Target(st.one_of(mutated, mutated, byte_mutations(as_json(meta))), read)


def srn_target(root: Path) -> Target:
    folder = root / "srn"
    for name in ("rgb", "pose"):
        (folder / name).mkdir(parents=True)
    intrinsics = b"131.25 2.5 2.0 0.\n0. 0. 0.\n1.\n4 5\n"
    poses = opencv_from_opengl(orbit_cameras(2, 1.3, 20.0, 52.0, 4, 5).camera_to_world)
    texts = [" ".join(map(str, [*pose.flatten().tolist(), 0, 0, 0, 1])).encode() for pose in poses]
    for view, text in enumerate(texts):
        (folder / "pose" / f"{view:06d}.txt").write_bytes(text)
        Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(folder / "rgb" / f"{view:06d}.png")

    def read(files: tuple[bytes, bytes]) -> None:
        (folder / "intrinsics.txt").write_bytes(files[0])
        (folder / "pose" / "000001.txt").write_bytes(files[1])
        open_scene(folder).picture(0)

    return Target(
        st.one_of(
            st.tuples(byte_mutations(intrinsics), st.just(texts[1])),
            st.tuples(st.just(intrinsics), byte_mutations(texts[1])),
        ),
        read,
    )


def split_target(root: Path) -> Target:
    folder = root / "collection"
    for name in "abc":
        (folder / "cars" / name).mkdir(parents=True)
        (folder / "cars" / name / "transforms.json").touch()
    splits = {"train": ["a"], "val": ["b"], "test": ["c"]}

    def read(content: bytes) -> None:
        (folder / "car_splits.json").write_bytes(content)
        collection = open_collection(folder)
        for split in collection.scenes.values():
            assert all(path.parent == folder / "cars" for path in split)

    mutated = json_mutations(splits).map(as_json)
    return Target(st.one_of(mutated, byte_mutations(as_json(splits))), read)


def csv_target(root: Path) -> Target:
    path = root / "table.csv"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        points = read_csv_functions(path, ["x"], ["y"], "task").points
        assert bool(points.x.isfinite().all())

    return Target(byte_mutations(b'x,y,task\n1,2,a\n"3",4.5,a\n5,-6e3,b\n'), read)


def idx_target(root: Path) -> Target:
    good = struct.pack(">4I", 0x803, 2, 3, 4) + bytes(range(24))
    heads = byte_mutations(good[:16]).map(lambda head: head + good[16:])
    plain = st.one_of(heads, byte_mutations(good))

    def read(given: tuple[str, bytes]) -> None:
        name, content = given
        (root / name).write_bytes(content)
        pixels = read_idx(root / name, 3)
        assert 0 < pixels.numel() <= 1032 * len(content)

    return Target(
        st.one_of(
            plain.map(lambda content: ("images", content)),
            plain.map(lambda content: ("images.gz", gzip.compress(content, mtime=0))),
            byte_mutations(gzip.compress(good, mtime=0)).map(lambda content: ("images.gz", content)),
        ),
        read,
    )


def picture_target(root: Path) -> Target:
    rgba = np.random.default_rng(0).integers(0, 256, (9, 11, 4), dtype=np.uint8)
    contents = []
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"):
        buffer = io.BytesIO()
        image = Image.fromarray(rgba)
        (image if kind in ("PNG", "WEBP", "TIFF") else image.convert("RGB")).save(buffer, kind)
        contents.append(buffer.getvalue())
    path = root / "picture.png"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        picture_size(path)
        assert read_rgba(path).shape[-1] == 4
        assert read_mask(path).ndim == 2

    headers = [
        byte_mutations(content[:64]).map(lambda head, rest=content[64:]: head + rest) for content in contents
    ]
    return Target(st.one_of(*headers, *map(byte_mutations, contents)), read)


def weights_target(root: Path) -> Target:
    torch.manual_seed(0)
    save_model(root / "weights", build_model(SMALLEST), {"steps": 1})
    path = root / "weights.safetensors"
    card = json.loads(path.with_suffix(".json").read_text())
    blob = path.read_bytes()
    length = struct.unpack("<Q", blob[:8])[0]
    header = json.loads(blob[8 : 8 + length])

    def with_header(value: Any) -> bytes:
        text = as_json(value)
        return struct.pack("<Q", len(text)) + text + blob[8 + length :]

    def read(files: tuple[bytes, Any]) -> None:
        weights, claims = files
        if isinstance(claims, dict) and "sha256" in claims:  # a forger states the right one
            claims = {**claims, "sha256": hashlib.sha256(weights).hexdigest()}
        path.write_bytes(weights)
        path.with_suffix(".json").write_bytes(as_json(claims))
        load_model(path)

    return Target(
        st.one_of(
            st.tuples(byte_mutations(blob), st.just(card)),
            st.tuples(json_mutations(header).map(with_header), st.just(card)),
            st.tuples(st.just(blob), json_mutations(card)),
            st.tuples(st.just(blob), json_mutations(card["config"]).map(lambda new: {**card, "config": new})),
        ),
        read,
    )


def baked_target(root: Path) -> Target:
    path = root / "baked.safetensors"
    filled = torch.zeros(64, 64, 64, dtype=torch.bool)
    filled[30:33, 30, 30] = True
    grid = BakedGrid(1.05, filled, torch.ones(3, dtype=torch.float16), torch.zeros(3, 3, dtype=torch.uint8))
    save_baked(path, grid, BakedCard("ball", None, "0" * 64, Similarity.identity()))
    blob = path.read_bytes()
    length = struct.unpack("<Q", blob[:8])[0]
    header = json.loads(blob[8 : 8 + length])
    notes = json.loads(header["__metadata__"]["baked"])

    def rebuilt(head: Any) -> bytes:
        text = as_json(head)
        return struct.pack("<Q", len(text)) + text + blob[8 + length :]

    def noted(new: Any) -> bytes:
        return rebuilt({**header, "__metadata__": {"baked": json.dumps(new)}})

    def read(content: bytes) -> None:
        path.write_bytes(content)
        open_baked(path)

    return Target(
        st.one_of(
            byte_mutations(blob), json_mutations(header).map(rebuilt), json_mutations(notes).map(noted)
        ),
        read,
    )


def results_target(root: Path) -> Target:
    path = root / "results.json"
    write_results(path, Stopwatch("b", seed=1).results([Row("m", "t", "s", "", "psnr", 1.0, 0.1, 3)]))
    good = json.loads(path.read_text())

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_results(path)

    return Target(st.one_of(json_mutations(good).map(as_json), byte_mutations(as_json(good))), read)


def pairs_target(root: Path) -> Target:
    path = root / "pairs.json"
    good = json.loads(PAIRS.read_text())
    good["scenes"] = {split: dict(list(scenes.items())[:2]) for split, scenes in good["scenes"].items()}

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_pairs(path)

    return Target(st.one_of(json_mutations(good).map(as_json), byte_mutations(as_json(good))), read)


def ply_target(root: Path) -> Target:
    path = root / "mesh.ply"
    head = b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    good = (
        head
        + b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n"
        + b"3 0 1 2\n"
    )

    def read(content: bytes) -> None:
        path.write_bytes(content)
        load_mesh(path)

    return Target(byte_mutations(good), read)


def checkpoint_target(root: Path) -> Target:
    from vnp_nerf.face.checkpoints import pipeline_state, read_checkpoint, write_checkpoint

    path = root / "step-000000001.ckpt"
    state = {"step": 1, "pipeline": pipeline_state(build_model(SMALLEST).state_dict())}
    write_checkpoint(path, state, root)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    pickled = next(name for name in entries if name.endswith("data.pkl"))

    def zipped(content: bytes) -> bytes:
        """With the right checksums, as a forger would have it."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, part in {**entries, pickled: content}.items():
                archive.writestr(name, part)
        return buffer.getvalue()

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_checkpoint(path)

    return Target(
        st.one_of(byte_mutations(path.read_bytes()), byte_mutations(entries[pickled]).map(zipped)), read
    )


def run_target(root: Path) -> Target:
    from vnp_nerf.face.checkpoints import pipeline_state, write_checkpoint
    from vnp_nerf.face.config import vnp_nerf_tiny
    from vnp_nerf.face.opened_run import run_weights

    config = copy.deepcopy(vnp_nerf_tiny.config)
    config.run_dir = config.output_dir = root
    config.pipeline.model.radiance = SMALLEST  # type: ignore[attr-defined]
    models = root / "nerfstudio_models"
    state = {"step": 1, "pipeline": pipeline_state(build_model(SMALLEST).state_dict())}
    write_checkpoint(models / "step-000000001.ckpt", state, root)
    text = yaml.dump(config)
    lines = text.splitlines()
    run_weights_of = root / "config.yml"

    @st.composite
    def changed_lines(draw: st.DrawFn) -> bytes:
        """One to three of the values that lines hold are others, or the lines are gone."""
        new = list(lines)
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(new) - 1))
            key, colon, _ = new[at].partition(":")
            value = draw(st.one_of(HOSTILE_PARTS.map(repr), st.sampled_from(lines), st.just("")))
            new[at] = f"{key}{colon} {value}" if draw(st.integers(0, 3)) else ""
        return "\n".join(new).encode("utf-8", "surrogatepass")

    def read(content: bytes) -> None:
        run_weights_of.write_bytes(content)
        run_weights(run_weights_of)

    return Target(st.one_of(changed_lines(), byte_mutations(text.encode())), read)


MAKERS: dict[str, Callable[[Path], Target]] = {
    "blender": lambda root: scene_target(root, nerfstudio=False),
    "nerfstudio": lambda root: scene_target(root, nerfstudio=True),
    "srn": srn_target,
    "splits": split_target,
    "csv": csv_target,
    "idx": idx_target,
    "pictures": picture_target,
    "weights": weights_target,
    "baked": baked_target,
    "results": results_target,
    "pairs": pairs_target,
    "ply": ply_target,
    "checkpoint": checkpoint_target,
    "run": run_target,
}
