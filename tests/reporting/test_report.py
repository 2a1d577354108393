"""The report as a page and as a folder, and that it never destroys a person's files."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from predictlearn.errors import InputError
from predictlearn.reporting import (
    Figure,
    Report,
    Section,
    Table,
    check_folder,
    folder,
    html,
    write,
)
from predictlearn.reporting.folder import MANIFEST
from predictlearn.reporting.page import format_value
from predictlearn.reporting.style import new_figure


def small_figure(name: str = "curve") -> Figure:
    drawing = new_figure(1.5, 3.0)
    drawing.subplots().plot([0, 1], [1, 0])
    return Figure(name, "Loss by `epoch`, **mean** <of> networks.", drawing, "Loss falls to zero.")


def small_table(name: str = "overlaps", rows: int = 2) -> Table:
    frame = pd.DataFrame(
        {
            "name": ["zm", "vv", "uu"][:rows] if rows <= 3 else [f"x{k}" for k in range(rows)],
            "estimate": np.resize([0.123456789, np.nan, 1.0], rows),
            "p_corrected": np.resize([3e-7, 0.04, 1.0], rows),
        }
    )
    return Table(name, "Overlaps & intervals.", frame, labels={"estimate": "value"})


def small_report(**changes) -> Report:
    content = {
        "title": "A <small> report",
        "lead": ("Finding one, with `zm` = 0.12.", "Finding two."),
        "sections": (
            Section("The fit", ("A paragraph.",), (small_figure(),), (small_table(),)),
            Section("How well", ("R² 0.9.",), level=3),
            Section("Real learning", caveats=("Little can be said.",)),
        ),
        "reproduce": {
            "command": "predictlearn predict --seed 3",
            "version": "0.1.0",
            "seed": 3,
            "settings": {"rank": 1, "tau": np.float64(0.5)},
            "data source": "https://example.org/data, a citation",
        },
    }
    return Report(**{**content, **changes})


class Links(HTMLParser):
    """Collect what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.refs: list[str] = []
        self.ids: set[str] = set()
        self.tags: list[str] = []
        self.attributes: list[dict] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        known = dict(attrs)
        self.attributes.append({"tag": tag, **known})
        self.refs += [known[key] for key in ("href", "src", "action", "data") if known.get(key)]
        if "id" in known:
            self.ids.add(known["id"])


def parsed(text: str) -> Links:
    links = Links()
    links.feed(text)
    return links


# -- the page ---------------------------------------------------------------------------------


def test_page_refers_to_nothing_outside():
    text = html(small_report())
    links = parsed(text)
    for ref in links.refs:
        assert ref.startswith(("#", "data:image/png;base64,", "tables/")), ref[:60]
    assert not {"script", "link", "iframe"} & set(links.tags)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    # a source may be cited, as text
    assert re.findall(r"https?://[^\s,<]+", text) == ["https://example.org/data"]


def test_contents_lead_to_every_section():
    links = parsed(html(small_report()))
    targets = [ref[1:] for ref in links.refs if ref.startswith("#")]
    assert targets == ["findings", "the-fit", "how-well", "real-learning", "reproduce"]
    assert set(targets) <= links.ids


def test_text_is_escaped_and_lightly_marked():
    text = html(small_report())
    assert "<title>A &lt;small&gt; report</title>" in text
    assert "Loss by <code>epoch</code>, <strong>mean</strong> &lt;of&gt; networks." in text
    assert "Finding one, with <code>zm</code> = 0.12." in text
    assert "What this does not show" in text
    assert '<code>predictlearn predict <span class="term">--seed</span> 3</code>' in text
    evil = Section("<script>alert(1)</script>", ("<img src=x onerror=alert(1)>`<b>`",))
    links = parsed(html(small_report(sections=(evil,))))
    assert not {"script", "img", "b"} & set(links.tags)


def test_figures_are_inside_with_alt_text_at_twice_the_resolution():
    links = parsed(html(small_report()))
    (image,) = [a for a in links.attributes if a["tag"] == "img"]
    assert image["alt"] == "Loss falls to zero."
    content = base64.b64decode(image["src"].split(",", 1)[1])
    width = int.from_bytes(content[16:20], "big")
    assert image["width"] == "300"
    assert width == 600


@pytest.mark.parametrize("simulated", [True, False])
def test_simulated_data_are_announced(simulated):
    page = html(small_report(simulated=simulated))
    assert ('class="banner"' in page) is simulated
    assert "recording" not in page


def test_the_banner_says_what_was_simulated():
    page = html(small_report(simulated="The networks <here> are of a protocol."))
    assert "<strong>Simulated data.</strong> The networks &lt;here&gt; are of a protocol." in page
    with pytest.raises(InputError, match="sentence that says what was simulated; got 1"):
        small_report(simulated=1)


def test_options_are_not_broken_after_their_hyphens():
    page = html(small_report(lead=("See `--margin` and `predictlearn compare --arms 'a b' c`.",)))
    assert '<code><span class="term">--margin</span></code>' in page
    assert 'predictlearn compare <span class="term">--arms</span> &#39;a b&#39; c' in page
    assert 'predictlearn predict <span class="term">--seed</span> 3' in page
    # a long word may break, but at its joints
    page = html(small_report(lead=('`pl.predictions.find_entry("a").result(table)`',)))
    assert "pl.<wbr>predictions.<wbr>find_entry(<wbr>" in page


def test_a_table_may_show_other_columns_than_its_file(tmp_path):
    shown = pd.DataFrame({"difference": ["0.12 [0.10, 0.14]"]})
    table = Table("t", "A caption.", pd.DataFrame({"estimate": [0.123456]}), on_page=shown)
    write(small_report(sections=(Section("S", tables=(table,)),)), tmp_path / "r")
    assert (tmp_path / "r/tables/t.csv").read_text().split() == ["estimate", "0.123456"]
    page = (tmp_path / "r/index.html").read_text(encoding="utf-8")
    assert "0.12 [0.10, 0.14]" in page
    assert "0.123" not in page
    with pytest.raises(InputError, match="labels of table 't' names 'estimate'"):
        Table("t", "A caption.", table.frame, on_page=shown, labels={"estimate": "e"})


def test_contents_come_after_what_to_do_where_there_is_one_column():
    narrow = html(small_report()).partition("@media (max-width: 71rem)")[2].partition("@media")[0]
    assert "header { order: -2; }" in narrow
    assert "nav { order: -1;" in narrow


def test_page_is_the_same_twice():
    assert html(small_report()) == html(small_report())


def test_table_shows_rounded_numbers_and_points_to_all_of_them():
    text = html(small_report(sections=(Section("T", tables=(small_table(rows=60),)),)))
    assert '<th scope="col" class="number">value</th>' in text
    assert '<td class="number">0.123</td>' in text
    assert '<td class="number">–</td>' in text
    assert '<td class="number">&lt; 0.0001</td>' in text
    assert text.count("<tr>") == 41
    assert "20 more rows. In full:" in text


def test_sentences_stand_below_their_rows():
    words = "The loss is lower after A-B than after B-A, in every network of the cohort, by 0.1."
    frame = pd.DataFrame({"name": ["a", "b"], "statement": [words, None], "p": [0.1, 0.2]})
    text = html(small_report(sections=(Section("T", tables=(Table("t", "c", frame),)),)))
    assert text.count('<tr class="detail">') == 1
    assert f'<td colspan="2">{words}</td>' in text
    assert "statement</th>" not in text


def test_an_index_with_a_name_becomes_a_column():
    frame = pd.DataFrame({"low": [0.0]}, index=pd.Index(["zm"], name="overlap"))
    assert Table("t", "c", frame, columns=("overlap", "low")).content.iloc[0].tolist() == [
        "zm",
        0.0,
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (-1e-9, "−1.0e−09"),
        (12345678.0, "1.2e+07"),
        (np.int64(-3), "−3"),
        (np.bool_(False), "no"),
        (float("-inf"), "−∞"),
        (None, "–"),
        (pd.NA, "–"),
        (pd.NaT, "–"),
        ("zm", "zm"),
        ((1, 0.5), "1, 0.500"),
    ],
)
def test_values_as_text(value, text):
    assert format_value(value) == text


# -- the folder -------------------------------------------------------------------------------


def snapshot(path):
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


@pytest.mark.quick
def test_write_leaves_page_tables_figures_and_manifest(tmp_path):
    page = write(small_report(), tmp_path / "deep" / "report")
    assert page == (tmp_path / "deep" / "report" / "index.html").resolve()
    files = snapshot(page.parent)
    assert sorted(files) == [
        "figures/curve.png",
        "index.html",
        MANIFEST,
        "tables/overlaps.csv",
    ]
    manifest = json.loads(files[MANIFEST])
    assert manifest["files"] == {
        name: hashlib.sha256(content).hexdigest()
        for name, content in files.items()
        if name != MANIFEST
    }
    frame = pd.read_csv(page.parent / "tables" / "overlaps.csv")
    assert frame["estimate"][0] == 0.123456789, "the CSV file holds full precision"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["report"], "no workspace is left"
    mode = page.parent.stat().st_mode & 0o777
    assert mode == (tmp_path / "deep").stat().st_mode & 0o777


def test_a_report_replaces_an_earlier_one_and_keeps_foreign_files(tmp_path):
    target = tmp_path / "report"
    extra = Section("Other", figures=(small_figure("old"),), tables=(small_table("old"),))
    write(small_report(sections=(extra,)), target)
    (target / "notes.txt").write_text("mine")
    (target / "tables" / "mine.csv").write_text("a,b")
    write(small_report(), target)
    files = snapshot(target)
    assert "tables/old.csv" not in files
    assert "figures/old.png" not in files
    assert files["notes.txt"] == b"mine"
    assert files["tables/mine.csv"] == b"a,b"
    assert "tables/overlaps.csv" in files
    write(small_report(sections=(Section("Bare"),)), target)
    assert not (target / "figures").exists(), "folders left empty go"


def test_an_empty_folder_is_used(tmp_path):
    assert write(small_report(), tmp_path).is_file()


def changed_page(target):
    write(small_report(), target)
    (target / "index.html").write_text("my own words")


def changed_stale_table(target):
    write(small_report(sections=(Section("T", tables=(small_table("old"),)),)), target)
    (target / "tables" / "old.csv").write_text("edited")


def foreign_page(target):
    target.mkdir()
    (target / "index.html").write_text("a site of my own")


def foreign_table(target):
    write(small_report(sections=(Section("Bare"),)), target)
    (target / "tables").mkdir()
    (target / "tables" / "overlaps.csv").write_text("mine")


def foreign_manifest(target):
    target.mkdir()
    (target / MANIFEST).write_text('{"made_by": "somebody"}')


def linked_page(target):
    target.mkdir()
    (target.parent / "elsewhere.html").write_text("mine")
    (target / "index.html").symlink_to(target.parent / "elsewhere.html")


@pytest.mark.parametrize(
    ("prepare", "file"),
    [
        (changed_page, "index.html .changed since"),
        (changed_stale_table, "tables/old.csv .changed since"),
        (foreign_page, "index.html .not made by predictlearn"),
        (foreign_table, "tables/overlaps.csv .not made by predictlearn"),
        (foreign_manifest, f"{MANIFEST} .not made by predictlearn"),
        (linked_page, "index.html .not made by predictlearn"),
    ],
)
def test_files_that_would_be_lost_are_refused_unless_told(tmp_path, prepare, file):
    target = tmp_path / "report"
    prepare(target)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=file):
        write(small_report(), target)
    assert snapshot(tmp_path) == before
    page = write(small_report(), target, overwrite=True)
    assert "A &lt;small&gt; report" in page.read_text(encoding="utf-8")
    if prepare is changed_stale_table:
        assert (target / "tables" / "old.csv").read_text() == "edited", "nothing replaces it"
    if prepare is linked_page:
        assert (tmp_path / "elsewhere.html").read_text() == "mine"
    write(small_report(), target)


def test_a_folder_is_checked_before_the_work(tmp_path):
    assert check_folder(tmp_path / "new") == (tmp_path / "new").resolve()
    changed_page(tmp_path / "report")
    with pytest.raises(InputError, match=r"index\.html"):
        check_folder(tmp_path / "report")
    check_folder(tmp_path / "report", overwrite=True)


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    for place in (file, file / "report"):
        with pytest.raises(InputError, match="must be a folder"):
            write(small_report(), place, overwrite=True)
    assert file.read_text() == "x"
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "tables").write_text("a file named like our folder")
    with pytest.raises(InputError, match="stands in the way"):
        write(small_report(), tmp_path / "report", overwrite=True)
    assert sorted(snapshot(tmp_path)) == ["file", "report/tables"]


def test_a_manifest_cannot_lead_outside_the_folder(tmp_path):
    target = tmp_path / "report"
    write(small_report(), target)
    victim = tmp_path / "victim.txt"
    victim.write_text("keep me")
    manifest = json.loads((target / MANIFEST).read_text())
    digest = hashlib.sha256(b"keep me").hexdigest()
    manifest["files"] |= {"../victim.txt": digest, str(victim): digest}
    (target / MANIFEST).write_text(json.dumps(manifest))
    write(small_report(), target)
    assert victim.read_text() == "keep me"


def test_nothing_is_left_when_a_figure_fails(tmp_path):
    class Broken:
        def savefig(self, *_args, **_kwargs):
            raise RuntimeError("cannot draw")

        def get_figwidth(self):
            return 3.0

    bad = Figure("bad", "Caption.", Broken(), "Alt.")
    report = small_report(sections=(Section("S", figures=(bad,)),))
    with pytest.raises(RuntimeError, match="cannot draw"):
        write(report, tmp_path / "deep" / "report")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fatal", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("nth", [1, 4, 6, 8])
def test_a_failed_move_is_undone(tmp_path, monkeypatch, nth, fatal):
    target = tmp_path / "report"
    write(small_report(lead=("Earlier.",)), target)
    (target / "notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    real, calls = folder.os.replace, []

    def failing(source, destination):
        calls.append(source)
        if len(calls) == nth:
            raise fatal
        return real(source, destination)

    monkeypatch.setattr(folder.os, "replace", failing)
    with pytest.raises(type(fatal)):
        write(small_report(lead=("Later.",)), target)
    assert snapshot(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_folders_made_on_the_way_go_when_writing_fails(tmp_path, monkeypatch):
    def full(*_args):
        raise OSError("disk full")

    monkeypatch.setattr(folder.Path, "write_bytes", full)
    with pytest.raises(OSError, match="disk full"):
        write(small_report(), tmp_path / "a" / "b" / "report")
    assert list(tmp_path.iterdir()) == []


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small_figure("My Curve"), "Did you mean 'my-curve'"),
        (lambda: small_figure("../up"), "becomes a file"),
        (lambda: Figure("a", "caption", new_figure(1.0), " "), "lacks its alt"),
        (lambda: Figure("a", "caption", "drawing", "alt"), "matplotlib Figure; got str"),
        (lambda: Table("a", "caption", [1]), "pandas DataFrame; got list"),
        (lambda: Table("a", "", pd.DataFrame()), "caption"),
        (lambda: Table("a", "c", pd.DataFrame({"x": [1]}), columns=("y",)), "names 'y'"),
        (lambda: Table("a", "c", pd.DataFrame({"x": [1]}), decimals={"y": 1}), "names 'y'"),
        (lambda: Section(""), "title"),
        (lambda: Section("a", level=1), "level"),
        (lambda: Section("a", "text"), "sequence of str"),
        (lambda: Section("a", figures=(small_table(),)), "only Figure"),
        (lambda: small_report(title=""), "title"),
        (lambda: small_report(lead="text"), "lead must be a sequence"),
        (lambda: small_report(reproduce=["x"]), "mapping"),
        (lambda: small_report(highlights=(("1",),)), "pairs"),
        (lambda: small_report(sections=(Section("A"), Section("a"))), "share the name 'a'"),
        (
            lambda: small_report(sections=(Section("A", tables=(small_table(), small_table())),)),
            "two tables of the report share the name 'overlaps'",
        ),
    ],
)
def test_wrong_parts_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
