"""Compiled code on disk never outlives the sources that it was made from."""

from __future__ import annotations

import os

from predictlearn.theory.compiled import forget_stale


def test_only_code_older_than_its_sources_is_dropped(tmp_path):
    module, source = tmp_path / "steps.py", tmp_path / "kernels.py"
    stored = tmp_path / "__pycache__"
    stored.mkdir()
    names = ("steps.descend-1.py311.nbi", "steps.descend-1.py311.1.nbc", "steps.cpython-311.pyc")
    for path in (module, source, *(stored / name for name in names), stored / "other.f.nbi"):
        path.touch()
        os.utime(path, (1000, 1000))
    assert forget_stale(str(module), str(source)) == []
    os.utime(source, (2000, 2000))
    gone = forget_stale(str(module), str(source))
    assert sorted(path.name for path in gone) == sorted(names[:2])
    assert sorted(path.name for path in stored.iterdir()) == ["other.f.nbi", names[2]]


def test_a_module_without_stored_code_is_no_error(tmp_path):
    (tmp_path / "a.py").touch()
    (tmp_path / "b.py").touch()
    assert forget_stale(str(tmp_path / "a.py"), str(tmp_path / "b.py")) == []


def test_what_a_source_was_made_from_counts_too(tmp_path):
    top, middle, bottom = (str(tmp_path / f"{name}.py") for name in ("top", "middle", "bottom"))
    (tmp_path / "__pycache__").mkdir()
    stored = tmp_path / "__pycache__" / "top.f-1.py311.nbi"
    for path in (top, middle, bottom, stored):
        open(path, "w").close()
        os.utime(path, (1000, 1000))
    forget_stale(middle, bottom)
    assert forget_stale(top, middle) == []
    os.utime(bottom, (2000, 2000))
    assert forget_stale(top, middle) == [stored]
