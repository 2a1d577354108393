"""Run the published results and write what studies/gallery.md shows of them.

    python studies/make_gallery.py [--runs FOLDER] [--jobs N] [NAME ...]

For every result named, all if none: the pictures go to studies/gallery/, and figures, numbers and
findings into the page, between the marks `<!-- NAME -->` and `<!-- /NAME -->`. What stands outside
the marks is written by hand. With --runs, finished networks are kept and used again.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

from predictlearn.published import Published, Reproduced, published, published_names
from predictlearn.published.files import figure_files, markdown_table

HERE = Path(__file__).resolve().parent
PAGE = HERE / "gallery.md"
MOST_BYTES = 200_000


def pictures(name: str, made: Reproduced) -> dict[str, bytes]:
    """Return the figures of a result, each below 200 kB."""
    for dpi in (120, 100, 80):
        files = figure_files(name, made, dpi)
        if max(map(len, files.values())) < MOST_BYTES:
            return files
    raise SystemExit(f"the figures of {name} are too large")


def section(result: Published, made: Reproduced, files: dict[str, bytes]) -> str:
    """Return the generated part of a result's section."""
    parts = [f"![{file.removesuffix('.png')}](gallery/{file})" for file in files]
    parts += ["The numbers that decide it:", markdown_table(made.numbers)]
    if made.findings:
        parts += ["Findings:", "\n".join(f"- {finding}" for finding in made.findings)]
    protocols = ", ".join(f"`protocols/{name}.yaml`" for name in result.protocols)
    parts.append(f"`predictlearn reproduce {result.name}`, from {protocols}; {result.takes}.")
    return "\n\n".join(parts)


def replace(page: str, name: str, content: str) -> str:
    """Return the page with the part between the marks of a result replaced."""
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    if first not in page or last not in page:
        raise SystemExit(f"{PAGE} lacks the marks {first} and {last}")
    pattern = re.compile(f"{re.escape(first)}.*?{re.escape(last)}", re.DOTALL)
    return pattern.sub(lambda _: f"{first}\n\n{content}\n\n{last}", page)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(published_names()))
    parser.add_argument("--runs", type=Path, help="folder for finished networks")
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    for name in asked.names or published_names():
        result, began = published(name), time.process_time()
        folder = None if asked.runs is None else asked.runs / name
        made = result.run(n_jobs=asked.jobs, folder=folder)
        files = pictures(name, made)
        for old in (HERE / "gallery").glob(f"{name}-*.png"):
            old.unlink()
        for file, content in files.items():
            (HERE / "gallery" / file).write_bytes(content)
        page = replace(PAGE.read_text(encoding="utf-8"), name, section(result, made, files))
        PAGE.write_text(page, encoding="utf-8")
        sys.stdout.write(f"{name}: {time.process_time() - began:.0f} s of this processor\n")


if __name__ == "__main__":
    main()
