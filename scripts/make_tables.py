"""Makes the tables of the README and the pages under docs/ anew from docs/results/*.json, and the scores on
the cards of data/weights.

    python scripts/make_tables.py            # rewrites the pages in place
    python scripts/make_tables.py --check    # changes nothing; exit code 1 where a page is out of date

What a table shows is written in the page itself: see `vnp_core/tables.py`. A card tells the scores of its
weights as they are now: where no result is of them, it has none.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from vnp_core.card_scores import SCORES, scores_of
from vnp_core.checkpoints import read_metadata, weights_digest, write_metadata
from vnp_core.errors import VNPError, exit_on_error, with_exit_codes
from vnp_core.results import read_results
from vnp_core.tables import fill_tables


@dataclass
class MakeTables:
    """Fills the marked tables of all pages, and the scores of all cards."""

    root: Path = Path(__file__).resolve().parents[1]
    """The repository: README.md, docs/, the results files and cards are looked for under it."""
    check: bool = False
    """Only say which pages and cards are out of date."""


def main(config: MakeTables) -> int:
    """Returns the exit code: 1 where `check` found something out of date."""
    console = Console()
    stale = 0
    for page in sorted([*config.root.glob("*.md"), *config.root.glob("docs/**/*.md")]):
        old = page.read_text(encoding="utf-8")
        try:
            new = fill_tables(old, config.root)
        except VNPError as error:
            raise type(error)(f"{page.relative_to(config.root)}: {error}") from error
        if new == old:
            continue
        stale += 1
        if not config.check:
            temporary = page.with_name(f".{page.name}.{os.getpid()}")
            temporary.write_text(new, encoding="utf-8")
            temporary.replace(page)
        console.print(
            f"{page.relative_to(config.root)}: {'out of date' if config.check else 'tables made anew'}"
        )
    results = [read_results(path) for path in sorted(config.root.glob("docs/results/*.json"))]
    for card in sorted(config.root.glob("data/weights/*.json")):
        old = read_metadata(card)
        new = {key: value for key, value in old.items() if key != SCORES}
        if scores := scores_of(card.stem, weights_digest(card), results):
            new[SCORES] = scores
        if new == old:
            continue
        stale += 1
        if not config.check:
            write_metadata(card, new)
        console.print(
            f"{card.relative_to(config.root)}: {'out of date' if config.check else 'scores made anew'}"
        )
    return 1 if config.check and stale else 0


if __name__ == "__main__":
    with exit_on_error():
        raise SystemExit(main(tyro.cli(MakeTables, description=with_exit_codes(__doc__))))
