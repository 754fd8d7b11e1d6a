import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vnp_core.errors import ConfigError, DataError, MissingDependencyError, SceneNotFoundError
from vnp_nerf.making import furniture
from vnp_nerf.making.furniture import FurnitureObject

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = furniture.read_index(ROOT / "data" / "furniture_index.json")
CLEAN = furniture.clean_objects(OBJECTS)
SPLITS = furniture.split_objects(CLEAN, seed=0)
BY_ID = {o.identity: o for o in OBJECTS}


def test_index_names_author_and_licence_of_820_objects_with_unique_ids():
    assert len(OBJECTS) == len(BY_ID) == 820
    assert all(o.creator and o.name and o.licence in furniture.LICENCES for o in OBJECTS)


def test_clean_objects_have_no_defect():
    assert len(CLEAN) == 732
    assert not any({"flat", "thin", "heavy", "coplanar"} & set(o.flags) for o in CLEAN)


def test_splits_part_the_clean_objects():
    members = [identity for split in SPLITS.values() for identity in split]
    assert sorted(members) == sorted(o.identity for o in CLEAN)
    assert {split: len(ids) for split, ids in SPLITS.items()} == {
        "train": 574,
        "val": 26,
        "test": 49,
        "test_author": 83,
    }


def test_held_out_author_is_only_in_the_split_of_that_name():
    for split, identities in SPLITS.items():
        assert {BY_ID[i].set_name == "KatorLegaz" for i in identities} == {split == "test_author"}


def test_every_kind_is_tested():
    kinds = {BY_ID[i].kind for i in SPLITS["train"]}
    assert {BY_ID[i].kind for i in SPLITS["test"]} == kinds


def test_no_test_object_has_a_namesake_by_its_author_in_training():
    def family(identity):
        o = BY_ID[identity]
        return o.set_name, o.creator, o.kind, "".join(c for c in o.name.lower() if c.isalpha())

    train = {family(i) for i in SPLITS["train"]}
    assert not train & {family(i) for split in ("val", "test") for i in SPLITS[split]}


def test_another_seed_splits_otherwise_and_the_same_seed_alike_in_any_order():
    assert furniture.split_objects(CLEAN[::-1], seed=0) == SPLITS
    assert furniture.split_objects(CLEAN, seed=1)["test"] != SPLITS["test"]


def test_a_held_out_category_is_only_in_the_split_of_that_name():
    splits = furniture.hold_out_category(SPLITS, CLEAN, "Vehicles")
    for split, identities in splits.items():
        assert {BY_ID[i].category == "Vehicles" for i in identities} == {split == "test_category"}
    everything = sorted(i for members in SPLITS.values() for i in members)
    assert sorted(i for members in splits.values() for i in members) == everything
    for split in SPLITS:
        assert splits[split] == [i for i in SPLITS[split] if BY_ID[i].category != "Vehicles"]


def test_a_category_that_is_not_there_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match="'Vehicle'.*Vehicles"):
        furniture.hold_out_category(SPLITS, CLEAN, "Vehicle")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shipped_objects_are_free_and_never_trained_on(seed):
    shipped = [o for o in OBJECTS if o.demo]
    assert len(shipped) == 12
    assert {o.licence for o in shipped} == {"CC0-1.0"}
    assert {o.identity for o in shipped} <= set(furniture.split_objects(CLEAN, seed)["test"])


def test_shipped_scenes_are_those_of_the_index_and_small():
    demo = ROOT / "data" / "demo"
    splits = json.loads((demo / "furniture_splits.json").read_text())
    assert splits == {"test": sorted(o.identity for o in OBJECTS if o.demo)}
    for identity in splits["test"]:
        head = json.loads((demo / "furniture" / identity / "transforms.json").read_text())
        assert len(head["frames"]) == 24
        assert BY_ID[identity].creator in (demo / "README.md").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in demo.rglob("*") if path.is_file()) < 5_000_000


def test_credits_name_author_and_licence_of_each_object():
    page = furniture.credits(CLEAN, SPLITS)
    for identity in (i for members in SPLITS.values() for i in members):
        row = next(line for line in page.splitlines() if line.startswith(f"| {identity} |"))
        assert BY_ID[identity].creator in row
        assert BY_ID[identity].licence in row


TALL = "v 0 0 0\nv 1 0 0\nv 1 5 0\nf 1 2 3\n"


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "package" / "usr" / "share"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "Some.sh3f", "w") as archive:
        archive.writestr("some/tall.obj", TALL)
    return tmp_path / "package"


def test_package_is_unpacked_and_its_objects_stand_upright(package, tmp_path):
    folder = furniture.extract_archives(package, tmp_path / "objects")
    plain = FurnitureObject("Some/some/tall.obj", "Tall", "other", "Other", "Nobody", "CC0-1.0")
    turned = FurnitureObject(**{**vars(plain), "rotation": (1, 0, 0, 0, 0, 1, 0, -1, 0)})
    extents = [
        np.ptp(
            furniture.load_furniture(furniture.find_sources([o], folder)[o.identity]).corners.reshape(-1, 3),
            axis=0,
        )
        for o in (plain, turned)
    ]
    np.testing.assert_allclose(extents, [[1, 0, 5], [1, 5, 0]], atol=1e-5)


def test_objects_that_the_package_lacks_are_named(package, tmp_path):
    folder = furniture.extract_archives(package, tmp_path / "objects")
    other = FurnitureObject("Some/some/short.obj", "Short", "other", "Other", "Nobody", "CC0-1.0")
    with pytest.raises(SceneNotFoundError, match=r"short\.obj"):
        furniture.find_sources([other], folder)


def test_bad_packages_are_refused(tmp_path):
    with pytest.raises(DataError, match="absent.deb doesn't exist"):
        furniture.fetch_package(tmp_path / "work", tmp_path / "absent.deb")
    with pytest.raises(DataError, match="no .sh3f archive"):
        furniture.extract_archives(tmp_path, tmp_path / "objects")
    (tmp_path / "Bad.sh3f").write_text("no zip")
    with pytest.raises(DataError, match=r"Bad\.sh3f can't be unpacked"):
        furniture.extract_archives(tmp_path, tmp_path / "objects")
    (tmp_path / "index.json").write_text('[{"path": "x"}]')
    with pytest.raises(DataError, match=r"index\.json can't be read"):
        furniture.read_index(tmp_path / "index.json")


def test_machines_without_apt_are_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="--deb"):
        furniture.fetch_package(tmp_path / "work")
