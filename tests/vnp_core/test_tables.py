"""Tables: each value lands in its cell, and a page's tables are made anew without touching the rest of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vnp_core.checkpoints import load_weights, read_metadata, save_weights, weights_digest, write_metadata
from vnp_core.errors import ConfigError, DataError
from vnp_core.results import Row, Stopwatch, write_results
from vnp_core.tables import fill_tables, markdown_table


def _row(model: str, condition: str, value: float, *, metric: str = "psnr", split: str = "test") -> Row:
    return Row(model, "furniture", split, condition, metric, value, 0.5, 9)


ROWS = [_row("ours", "views=1", 21.0), _row("ours", "views=2", 23.456), _row("white", "views=1", 11.0)]


def test_every_value_lands_in_its_cell_and_gaps_are_dashes() -> None:
    assert markdown_table(ROWS).splitlines() == [
        "| model | views=1 | views=2 |",
        "|---|---:|---:|",
        "| ours | 21.00 | 23.46 |",
        "| white | 11.00 | - |",
    ]


def test_the_best_of_each_column_is_bold_and_errors_follow_their_value() -> None:
    assert "| ours | **21.0** ± 0.5 | **23.5** ± 0.5 |" in markdown_table(
        ROWS, digits=1, stderr=True, best="max"
    )
    assert "| white | **11.00** | - |" in markdown_table(ROWS, best="min")


def test_two_values_for_one_cell_no_rows_and_unknown_fields_are_refused() -> None:
    with pytest.raises(DataError, match="one cell"):
        markdown_table([*ROWS, _row("ours", "views=1", 22.0, metric="ssim")])
    with pytest.raises(DataError, match="no row"):
        markdown_table([])
    with pytest.raises(ConfigError, match="'colour'"):
        markdown_table(ROWS, down=["colour"])
    with pytest.raises(ConfigError, match="best"):
        markdown_table(ROWS, best="most")


def test_a_page_is_filled_between_its_markers_and_filling_again_changes_nothing(tmp_path: Path) -> None:
    rows = [
        *ROWS,
        _row("ours", "views=1", 0.9, metric="ssim"),
        _row("ours", "views=1", 19.0, split="test_author"),
    ]
    write_results(tmp_path / "r.json", Stopwatch("bench", seed=0).results(rows))
    marker = "<!-- table results=r.json metric=psnr across=split+condition model=ours best=max digits=1 -->"
    page = f"# Title\n\n{marker}\nold words\n<!-- end table -->\n\nThe end | of it.\n"
    filled = fill_tables(page, tmp_path)
    assert "| model | test, views=1 | test, views=2 | test_author, views=1 |" in filled
    assert "| ours | **21.0** | **23.5** | **19.0** |" in filled
    assert "old words" not in filled
    assert "white" not in filled
    assert filled.startswith("# Title\n\n<!-- table")
    assert filled.endswith("<!-- end table -->\n\nThe end | of it.\n")
    assert fill_tables(filled, tmp_path) == filled


def test_a_page_with_two_tables_gets_both(tmp_path: Path) -> None:
    write_results(tmp_path / "r.json", Stopwatch("bench", seed=0).results(ROWS))
    one = "<!-- table results=r.json model={} -->\n<!-- end table -->\n"
    filled = fill_tables(one.format("ours") + "between\n" + one.format("white"), tmp_path)
    assert filled.index("| ours |") < filled.index("between") < filled.index("| white |")


def test_a_word_with_spaces_stands_in_quotes(tmp_path: Path) -> None:
    rows = [replace(row, condition=f"way={row.model} 128") for row in ROWS[:1]]
    write_results(tmp_path / "r.json", Stopwatch("bench", seed=0).results(rows))
    page = f"<!-- table results=r.json condition='way={ROWS[0].model} 128' -->\n<!-- end table -->\n"
    assert f"| way={ROWS[0].model} 128 |" in fill_tables(page, tmp_path)


def test_the_run_that_numbers_come_from_is_told(tmp_path: Path) -> None:
    results = Stopwatch("bench", seed=0).results(ROWS)
    write_results(tmp_path / "r.json", replace(results, commit="abc", dirty=True, command="run it"))
    page = "<!-- origin results=r.json -->\nold words\n<!-- end origin -->\nrest\n"
    filled = fill_tables(page, tmp_path)
    assert "\n`r.json`: commit `abc`, with uncommitted changes; `run it`; " in filled
    assert "old words" not in filled
    assert filled.endswith("<!-- end origin -->\nrest\n")
    assert fill_tables(filled, tmp_path) == filled
    with pytest.raises(ConfigError, match="names its results=FILE and nothing else"):
        fill_tables(page.replace("results=r.json", "results=r.json metric=psnr"), tmp_path)


@pytest.mark.parametrize(
    "request_words",
    ["metric=psnr", "results=r.json colour=red", "results=r.json digits=x", "results=r.json model='ours"],
)
def test_a_marker_that_makes_no_sense_is_refused(tmp_path: Path, request_words: str) -> None:
    write_results(tmp_path / "r.json", Stopwatch("bench", seed=0).results(ROWS))
    with pytest.raises(ConfigError):
        fill_tables(f"<!-- table {request_words} -->\n<!-- end table -->\n", tmp_path)


def test_the_script_finds_stale_pages_mends_them_and_then_has_nothing_to_do(
    load_script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    module = load_script("make_tables")
    write_results(tmp_path / "docs" / "results" / "r.json", Stopwatch("bench", seed=0).results(ROWS))
    for page in (tmp_path / "README.md", tmp_path / "docs" / "page.md"):
        page.write_text("<!-- table results=docs/results/r.json -->\n<!-- end table -->\n")
    before = (tmp_path / "README.md").read_text()
    assert module.main(module.MakeTables(tmp_path, check=True)) == 1
    assert (tmp_path / "README.md").read_text() == before
    assert module.main(module.MakeTables(tmp_path)) == 0
    assert "| ours | 21.00 | 23.46 |" in (tmp_path / "docs" / "page.md").read_text()
    assert module.main(module.MakeTables(tmp_path, check=True)) == 0


def test_the_script_tells_cards_the_scores_of_their_weights_and_of_no_others(
    load_script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    module = load_script("make_tables")
    card = tmp_path / "data" / "weights" / "ours.json"

    def save(value: float) -> None:
        save_weights(card, {"x": torch.full((2,), value)}, {}, {"steps": 3})

    save(1.0)
    assert module.main(module.MakeTables(tmp_path, check=True)) == 0
    digests = {"ours": weights_digest(card)}
    scored = Row("ours", "cars", "test", "views=1", "psnr", 21.0, 0.5, 9)
    results = Stopwatch("bench_3d", seed=0).results([scored], digests)
    write_results(tmp_path / "docs" / "results" / "r.json", results)
    assert module.main(module.MakeTables(tmp_path, check=True)) == 1
    assert read_metadata(card) == {"steps": 3}
    assert module.main(module.MakeTables(tmp_path)) == 0
    assert module.main(module.MakeTables(tmp_path, check=True)) == 0
    (told,) = read_metadata(card)["scores"]
    assert (told["psnr"], told["objects"]) == ([21.0, 0.5], 9)
    assert load_weights(card).metadata["steps"] == 3
    # Trained on: what was scored is no longer there.
    save(2.0)
    write_metadata(card, {"steps": 4, "scores": [told]})
    assert module.main(module.MakeTables(tmp_path, check=True)) == 1
    assert module.main(module.MakeTables(tmp_path)) == 0
    assert read_metadata(card) == {"steps": 4}
