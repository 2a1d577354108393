"""The site of docs/ and studies/: built without a warning, every public name in its index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import predictlearn as pl

pytest.importorskip("sphinx", reason="the generator comes with the extra `docs`")
pytest.importorskip("myst_parser", reason="the generator comes with the extra `docs`")
pytest.importorskip("furo", reason="the generator comes with the extra `docs`")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of a site that was built without a warning."""
    folder = tmp_path_factory.mktemp("site")
    strict = ("--fail-on-warning", "--keep-going", "--quiet", "-c", "docs", ".", str(folder))
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *strict],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def inventory(site):
    """Return where each name of the code is on the site, by its full name."""
    # four lines of text, then compressed ones: name, role, priority, address, shown name
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = (line.split(" ", 4) for line in zlib.decompress(packed).decode().splitlines())
    return {
        name: where.replace("$", name)
        for name, role, _, where, _ in lines
        if role.startswith("py:")
    }


def test_every_public_name_has_its_place(site, inventory):
    public = {f"predictlearn.{name}" for name in pl.__all__ if name != "__version__"}
    assert sorted(public - inventory.keys()) == []
    for name in public:
        page, _, anchor = inventory[name].partition("#")
        assert f'id="{anchor}"' in (site / page).read_text(encoding="utf-8")


def test_a_search_finds_every_public_name(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    objects = json.loads(index[index.index("{") : index.rindex("}") + 1])["objects"]
    found = {name for *_, name in objects["predictlearn"]}
    assert sorted(set(pl.__all__) - found) == ["__version__"]


def test_the_front_page_leads_to_what_a_reader_can_do(site):
    assert 'href="docs/index.html"' in (site / "index.html").read_text(encoding="utf-8")
    front = (site / "docs" / "index.html").read_text(encoding="utf-8")
    assert "What you can do" in front
    for part in ("your-own-recording.html", "reference/api/index.html", "../studies/README.html"):
        assert f'href="{part}"' in front
