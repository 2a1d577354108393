"""The registry of public data sets, and downloads from a server of our own."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from predictlearn.cli import app
from predictlearn.errors import InputError
from predictlearn.recordings.datasets import download, registry
from predictlearn.recordings.datasets.download import download_dataset
from predictlearn.recordings.datasets.registry import datasets, find_dataset

pytestmark = pytest.mark.quick

CONTENT = bytes(range(256)) * 2000


class Handler(BaseHTTPRequestHandler):
    """Sends a good file, a wrong one, or one that breaks off."""

    def do_GET(self):
        if self.path == "/good.mat":
            self._send(CONTENT, len(CONTENT))
        elif self.path == "/wrong.mat":
            self._send(CONTENT[:-1] + b"x", len(CONTENT))
        elif self.path == "/endless.mat":
            self._send(CONTENT + bytes(10_000_000), None)
        elif self.path == "/short.mat":
            self._send(CONTENT[:1000], len(CONTENT))
        else:
            self.send_error(404)

    def _send(self, body, length):
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.fixture
def absent(monkeypatch, tmp_path):
    """A registry whose one file is that of the server, with empty data and cache folders."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    monkeypatch.setenv("PREDICTLEARN_DATA", str(data))
    monkeypatch.setenv("PREDICTLEARN_CACHE", str(cache))
    item = replace(datasets()[1], sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT))
    others = tuple(d for d in datasets() if d.name != item.name)
    monkeypatch.setattr(registry, "_DATASETS", (*others, item))
    return item, data, cache


class Bar:
    """Counts what it is told."""

    def __init__(self):
        self.total, self.seen, self.closed = 0, 0, False

    def update(self, n):
        self.seen += n

    def reset(self):
        self.seen = 0

    def close(self):
        self.closed = True


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def test_a_download_goes_into_the_cache_and_is_found_there(absent, server):
    item, _, cache = absent
    bar = Bar()
    path = download_dataset(item.name, url=f"{server}/good.mat", bar=bar)
    assert path == cache / item.file == find_dataset(item.name)
    assert path.read_bytes() == CONTENT
    assert (bar.seen, bar.total, bar.closed) == (len(CONTENT), len(CONTENT), True)
    # a second call finds it and asks no server
    assert download_dataset(item.name, url="http://127.0.0.1:9/none") == path


def test_a_copy_in_a_data_folder_comes_first(absent, server):
    item, data, cache = absent
    place = data / item.file
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert download_dataset(item.name, url=f"{server}/good.mat") == place
    assert not files(cache)
    assert download_dataset(item.name, again=True, url=f"{server}/good.mat") == cache / item.file
    assert find_dataset(item.name) == place


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("wrong.mat", "not the registered file: its sha256 is not"),
        ("short.mat", "could not download|not the registered file"),
        ("endless.mat", "has 512000 bytes, and more came"),
        ("none.mat", "answered 404"),
    ],
)
def test_a_failed_download_leaves_nothing(absent, server, file, message):
    item, _, cache = absent
    with pytest.raises(InputError, match=message) as caught:
        download_dataset(item.name, url=f"{server}/{file}")
    assert item.repository in str(caught.value)
    assert str(cache / item.file) in str(caught.value)
    assert not files(cache)


def test_a_download_that_trickles_ends(absent, server, monkeypatch):
    item, _, cache = absent
    monkeypatch.setattr(download, "_PATIENCE", 0.0)
    monkeypatch.setattr(download, "_SLOWEST", 1e12)
    with pytest.raises(InputError, match=r"too slow.*thrown away"):
        download_dataset(item.name, url=f"{server}/good.mat")
    assert not files(cache)


@pytest.mark.parametrize("where", ["data", "cache"])
def test_a_copy_that_was_changed_is_not_opened(absent, server, where, tmp_path):
    item, data, cache = absent
    place = (data if where == "data" else cache) / item.file
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(InputError, match=r"20160728\.mat is not the registered file.*not opened"):
        find_dataset(item.name)
    run = CliRunner().invoke
    listed = run(app, ["datasets", "list"], env={"COLUMNS": "500"})
    assert f"{place}   not the registered file: its checksum differs" in listed.output
    assert run(app, ["fit", item.name]).exit_code == 2
    if where == "cache":
        assert download_dataset(item.name, url=f"{server}/good.mat") == place
        assert find_dataset(item.name) == place
    else:
        with pytest.raises(InputError, match="not the registered file"):
            download_dataset(item.name, url=f"{server}/good.mat")


def test_without_a_connection_the_message_says_what_to_do(absent):
    item, _, cache = absent
    with pytest.raises(InputError, match=r"could not download.*by hand.*PREDICTLEARN_DATA"):
        download_dataset(item.name, url="http://127.0.0.1:9/file.mat")
    assert not files(cache)


def test_an_interrupted_download_leaves_nothing(absent, server):
    item, _, cache = absent

    class Stop(Bar):
        def update(self, n):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_dataset(item.name, url=f"{server}/good.mat", bar=Stop())
    assert not files(cache)


def test_the_commands(absent, server):
    item, _, cache = absent
    run = CliRunner().invoke
    listed = run(app, ["datasets", "list"])
    assert listed.exit_code == 0
    assert listed.output == run(app, ["datasets"]).output
    for known in datasets():
        assert known.name in listed.output
        assert known.licence in listed.output
    missing = run(app, ["datasets", "where", item.name])
    assert missing.exit_code == 2
    assert f"datasets get {item.name}" in missing.output
    wrong = run(app, ["datasets", "get", "bci-learnin"])
    assert wrong.exit_code == 2
    assert "Did you mean 'bci-learning'" in wrong.output
    got = run(app, ["datasets", "get", item.name, "--url", f"{server}/good.mat"])
    assert got.exit_code == 0, got.output
    assert got.stdout.strip() == str(cache / item.file)
    where = run(app, ["datasets", "where", item.name])
    assert where.stdout == got.stdout
    bad = run(app, ["datasets", "get", item.name, "--again", "--url", f"{server}/wrong.mat"])
    assert bad.exit_code == 0, "the copy in the cache has the right checksum and is kept"


def test_only_data_sets_with_a_case_are_fitted_by_name():
    refused = CliRunner().invoke(app, ["fit", "archerfish"])
    assert refused.exit_code == 2
    assert "simulated-learning, bci-learning" in refused.output


def test_checksums_are_those_of_the_public_files(shared_data, monkeypatch):
    monkeypatch.setenv("PREDICTLEARN_DATA", str(shared_data))
    for item in datasets():
        if item.ships:
            continue
        content = find_dataset(item.name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (item.sha256, item.size)
