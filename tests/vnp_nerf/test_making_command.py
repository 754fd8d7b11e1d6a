import json
import sys

import pytest
import trimesh


@pytest.fixture
def command(monkeypatch, load_script):
    module = load_script("make_scenes")

    def run(*arguments):
        monkeypatch.setattr(
            sys, "argv", ["make_scenes.py", *map(str, arguments), "--processes", "1", "--size", "8"]
        )
        module.main()

    return run


def test_shapes_come_with_splits_for_each_category(command, tmp_path, capsys):
    command("shapes", "--output", tmp_path, "--categories", "lamps", "tables", "--count", "8", "--views", "1")
    for category in ("lamp", "table"):
        splits = json.loads((tmp_path / f"{category}_splits.json").read_text())
        assert {name: len(members) for name, members in splits.items()} == {"train": 1, "val": 1, "test": 6}
        assert len(list((tmp_path / f"{category}s").iterdir())) == 8
    assert "8 written now" in capsys.readouterr().out.replace("\n", " ")


def test_splits_may_be_made_one_by_one(command, tmp_path):
    arguments = ("shapes", "--output", tmp_path, "--categories", "lamps", "--count", "8", "--views", "1")

    def made() -> tuple[dict, list]:
        splits = json.loads((tmp_path / "lamp_splits.json").read_text())
        return splits, sorted(path.name for path in (tmp_path / "lamps").iterdir())

    command(*arguments, "--splits", "val")
    assert made() == ({"val": ["lamp-000000"]}, ["lamp-000000"])
    command(*arguments, "--splits", "train")
    # What is there stays listed.
    assert made() == ({"train": ["lamp-000007"], "val": ["lamp-000000"]}, ["lamp-000000", "lamp-000007"])


def test_meshes_are_rendered_and_broken_ones_are_named(command, tmp_path, capsys):
    source = tmp_path / "source"
    source.mkdir()
    trimesh.creation.box().export(source / "box.ply")
    (source / "broken.glb").write_bytes(b"glTF")
    command("meshes", source, "--output", tmp_path / "out", "--views", "2")
    assert (tmp_path / "out" / "objects" / "box" / "transforms.json").is_file()
    assert "left out: broken" in capsys.readouterr().out


def test_json_tells_what_was_made_and_quiet_nothing(command, tmp_path, capsys):
    arguments = (
        "shapes",
        "--output",
        tmp_path,
        "--categories",
        "lamps",
        "tables",
        "--count",
        "2",
        "--views",
        "1",
    )
    command(*arguments, "--views", "1", "--json")
    lamps, tables = json.loads(capsys.readouterr().out)["categories"]
    assert (lamps["written"], lamps["present"], lamps["failed"]) == (2, 0, {})
    assert sum(tables["splits"].values()) == 2
    assert len(list((tmp_path / "tables").iterdir())) == 2
    command(*arguments, "--views", "1", "--quiet")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["shapes", "--count", "0"], 11, "count is 0"),
        (["shapes", "--views", "0", "--categories", "cars"], 11, "views is 0"),
        (["shapes", "--categories", "boats"], 11, "no category 'boats'"),
        (["shapes", "--splits", "exam"], 11, "name one or more of train, val, test"),
        (["furniture", "--deb", "absent.deb"], 12, "absent.deb doesn't exist"),
        (["meshes", "absent"], 14, "absent is no folder"),
    ],
)
def test_bad_requests_end_with_one_line_and_a_code(command, tmp_path, capsys, arguments, code, text):
    with pytest.raises(SystemExit) as ended:
        command(*arguments, "--output", tmp_path / "out")
    assert ended.value.code == code
    assert text in capsys.readouterr().err
