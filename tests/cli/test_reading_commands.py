"""What the command line reads: options of readers, and other files in the format of a data set."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from predictlearn.cli.app import app
from predictlearn.cli.reading import fit_settings, read_options
from predictlearn.errors import InputError

pytestmark = pytest.mark.quick


def test_options_of_readers_are_words_and_rows():
    read = read_options(
        [
            "inputs=[onset, {column: on}, {from: on, to: off, value: -0.5}]",
            "trials={side: yes}",
            "window=[-0.5, 1]",
            "align=on",
        ]
    )
    assert read["inputs"] == ["onset", {"column": "on"}, {"from": "on", "to": "off", "value": -0.5}]
    assert read["trials"] == {"side": "yes"}
    assert (read["window"], read["align"]) == ([-0.5, 1], "on")
    assert read_options(["trials=[true, false]"]) == {"trials": [True, False]}
    with pytest.raises(InputError, match=r"inputs is given twice; .* inputs=\[a, b\]"):
        read_options(["inputs=a", "inputs=b"])
    with pytest.raises(InputError, match="is not YAML"):
        read_options(["inputs=[{column: a]"])


def test_tau_in_milliseconds_is_asked_about():
    assert fit_settings(None, None, "0.1", None, None)["tau"] == 0.1
    with pytest.raises(InputError, match=r"100 ms are --tau 0\.1"):
        fit_settings(None, None, "100", None, None)


def test_counts_are_read_alike_on_the_command_line_and_in_python():
    from predictlearn.pipeline.cases import case_of
    from predictlearn.recordings import Recording

    counts = np.random.default_rng(0).poisson(1.0, size=(4, 5, 6)).astype(float)
    recording = Recording(counts, np.ones((4, 5, 1)), dt=0.1)
    for noise, observed in (("gaussian", "rate"), ("poisson", "current")):
        typed = fit_settings(None, None, None, None, None, noise)
        assert case_of(recording, None, **typed).settings["observed"] == observed
        assert case_of(recording, None, noise=noise).settings["observed"] == observed
    assert case_of(recording, None, noise="poisson", observed="rate").settings["observed"] == "rate"


def test_another_file_in_a_known_format(tmp_path, shared_data, monkeypatch):
    from predictlearn.pipeline.cases import case_of
    from predictlearn.recordings import find_dataset, load_bci_learning

    try:
        source = find_dataset("bci-learning")
    except InputError as error:
        pytest.skip(str(error))
    known = case_of(None, "bci-learning")
    assert known.named
    assert "mobeets/neural-engagement" in known.recording.metadata["source"]
    # the text at the beginning of the file is free: another checksum, the same numbers
    other = tmp_path / "20990101.mat"
    content = source.read_bytes()
    other.write_bytes(b"another session".ljust(40) + content[40:])
    for given in (other, str(other)):
        case = case_of(given, "bci-learning")
        assert (case.name, case.named, case.columns) == ("20990101", False, "latent factors")
        assert "20990101.mat" in case.title
        about = case.recording.metadata
        assert about["name"] == "20990101, block 1"
        assert "not the registered file" in about["source"]
        assert "mobeets" not in about["source"]
        assert np.array_equal(case.recording.activity, known.recording.activity, equal_nan=True)
    copy = tmp_path / "copy.mat"
    copy.write_bytes(content)
    assert case_of(copy, "bci-learning").named
    assert load_bci_learning(copy).intuitive.metadata["name"] == "bci-learning, block 1"
    # a file that was put in the place of the registered one is not read as it
    place = tmp_path / "bci-learning-hennig2021" / "20160728.mat"
    place.parent.mkdir()
    place.write_bytes(other.read_bytes())
    monkeypatch.setenv("PREDICTLEARN_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"20160728\.mat is not the registered file"):
        case_of(None, "bci-learning")
    assert not case_of(place, "bci-learning").named
    with pytest.raises(InputError, match=r"no such file: .*nowhere.mat; .* format of bci-learning"):
        case_of(tmp_path / "nowhere.mat", "bci-learning")
    with pytest.raises(InputError, match="not both"):
        case_of(known.recording, "bci-learning")


def test_a_file_goes_with_the_data_set_of_its_format(tmp_path):
    for words, message in (
        (["--file", "a.mat"], "--file goes with --dataset"),
        (["a.mat", "--dataset", "bci-learning"], "--file a.mat"),
        (["--dataset", "bci-learning", "--file", str(tmp_path / "a.mat")], "no such file"),
    ):
        done = CliRunner().invoke(app, ["predict", *words, "-o", str(tmp_path / "out")])
        assert done.exit_code != 0
        said = " ".join((str(done.exception or "") + done.output).split())
        assert message in said
    assert not (tmp_path / "out").exists()
