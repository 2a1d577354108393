"""Text, tables and other objects of MATLAB, in files of both versions."""

from __future__ import annotations

import base64
import lzma
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.recordings.readers.mat_file import MatFile

# Written by another program, mat-io 1.0.2, and compressed: y (4, 6, 3); side, a string array;
# kind, a categorical; t, a table with columns rt and cue; wait, a duration; when, a datetime.
VERSION_7 = """
XQAAAAT//////////wAmkEbOQLs3MfvzInVcxLgyJu8lc9fKGHOU3+0p/liBFryWlqtE8Xy8FgGRZ8iC529/1wl+w7Li0HUO
1U0mEcSBKOtyDYHaf+00Wp0qdUS7OriQZwyYnHnsRMxqmwoV6QAofQaBPkXiCQX1J7Fpfn/H+8eaz0w8PJBsZIGyZR5+kEPK
rdx/8RIsQSiwywJtlb1LaKva2RRhL06mFZMhHoDvuwFqZHjCyvUc5Dvk5qMXGzCYnI9q/j6x2dkVfGtJh1X+jwU7bWpvQjYd
lCDrZZkWMzvh4AwGEtugb3sPKoa55ZUl2jMws4aNIVbYiJTBAeMWvb5T51J+3geIGsfLfzIavaryO//JDGNqMQVVVt+cAonx
ptnEBTmxh2PiSTfsUP74PojdfZsXJvxm8CdC9DTFya+0tPyaDsFVnBONUVTFRoNWcOguzvmbJ5gA5xI4R7cax5JsqLsJ3qUw
37JR2Qn4b4qkcxWd4B68y3clpnGkFf8apOhov4KYRmaOYtfXzr4aExDessIE76jol7MnH4HkWPGkqNq12MGRm0iwPsFrrCfr
Ipf93RAWwYaevD6+3xHVDWMUBfQnJrgDC8amC6KNf4ss3D7uxmEVJR8nN4G7THucJ3G5xgrKmku/MZmuvky+OBPudFiLP/AF
+sNzWgfviOV/uwt9zbIA2wx9fKxLSeweXdjUTIksVWBYws7es/VI/FoCyRNGxJ1wBRRNx5YG27mBFsyMWmHBIrFW+iZDyGUZ
uG3VNgYXC+WexXRx8Z8JDV2o9076xcypEkcJnd4WSi0xD5JKmI7YC7KbwyBaMprBWNxt83occB/bVmgOwBSovNudLRNf7ctt
JDqaW8cnnPzitDjW2VV5U+WPGLJXpaoG3FIk/nsQnYj+ynbq8kXOFTCa8zPKv4VBQ8tv1GltDkssVWT3RjNgFEz9g4mXP7dM
s/s19svucUCxgfdANZW6QU4rdM5BO1QekNdwWG6hbsGQGQDVIrXp3zsNk6lGtO4qupcSt5hlv8MbWdyjQLSIcaHDJgAQeMS5
wOK4bI1E8ZhmxYBiWFRSLXCBOq5Jko87o73RHBodjvCDm2yLi/gi0aXXsfxWYLci6JR5+BqHNoWLwNJAQ8jtuGvQg0+fEN00
nSJcNmrFRYm3gR9uzL/7v2ZYQcq9kohsNZ5c7hZcwjNj6z1xnayGBkuC7fCA8fn3tJ9wG3Rh40knWQRUThhKlaKIjkZXTTlf
kXekk40nFx8xpoP/xjWDAYrf6VG5tlzWpPiKya8KSFcAM7CWZMqfkKFgMQCfMP/RTevWLBWzP2lLE+Etekyzh30FD6woReVh
GhTJBfD3YILbtp8k9IpIMgpqyYQUL+KRcrDr6d4BXaCtmKDYuCfBEZ8TLXp7QPDP9KdpzWqfOUs8e37mD2bSyHzshIeiJxKf
8xkYxDepkkeo3EdbYM+ojcWEdASwSWjQGN4sBCnPABkUuGlzWzW1i/hW69IKPWG7bfd8jQ7q8+mLgxk8o5Pwjyghhel/i7yg
G/9O+0zAj4g6QtgnrJ23Kfpm8HslFKLzE5+uc/EFIA9xERlA4tmLFK+DgsLejeRki4bQbARn00OL1/TSpKXxG8K2lcWz5eS6
wrbjtf3uqYYJoNofBTh70GLQuFUb330gRFQq8wWXVPPc/zWEpsc94iFsf/UdtVV5GD2NNQMkcqw1fMhIVEQoPgwbXb3fDoTE
uK5U0M1anGzoawcufsElpa7YRXEF47APgeYWLwRbC6zIla/4+QADTuvbQDaYvKUttKnVexZ2YN8UUFvHaGYrRkfM2NGod4uX
j2ICl4stLK6TMfA0pCBr1k39M3JMU7zoix+GgB0ducOPRtX6Wrj1fNpl+Kt9sPMiGpDmy+TajlzKAQFdcavcmWSFnJZCKT0R
jrOw7GENCsBNNT/vI4cWCz//6XG9ug==
"""
VERSION_73 = """
XQAAAAT//////////wAmkEbOQLs3MfvzInVcxLgyJu8lc9fKGHOU3+0p/liBFryWlqtE8Xy8FgGRZ8iC529/1wl+w7Li0HUO
1U0mEcSBKOtyDYHaf+00WhAvgvyFXNgyBoirDG1CVTyui0pcQK4WOiXxYeE5d62VlvhXHaGzqAJSJtX+S54MDEMCi4+68fdu
9kwj5K8pKWfbXWGEwpy+TBwy45NKt19ZSWqjECV3t4JzBfWPJekXPKVv+uOIv6yuFAa5hiB9xOfQeov3dwdaT/re24NPcUQT
jLvARJYbdF8XYQqr5O0oU2nrPTT6GVryVeuqf1ydWd7MrKRGAoW3d4rn5zGrDIqFVo+IAhGDhOLbTfWTo2FLdjXPE7Tb6x8v
mJgY4ZjcqMuzxALR+GWGtRiPjvB8OURPoxhLu3CCd8I0A0gA/efHabWiIm+/d75Yelx8M3VPelLnvBs2rGvPfOVTNWTwGfIS
BSCBnvhhxfda0rt+n1MEbkBhHxRmWkwrNeSscp9SN4pz3PqnlPiXULZ4rRmRS19mCR+5YL4SBcgRnS+ZL/potrbClVr0UD4k
Pao+mitaVXi/BfNNNNYMVNLcUJwMcpic9r6z7kZONqfQ1iDUyJzU96nvaErH7wWezGj0xjGfpELraBCKAUqaJ9JM0xy9WyQn
v5+m6C/+ucKVAW6i8A4H4ut5u00AjTtNweO0NXwYltr3yKycrhrtpyLMo77pCNTb30P6nzN1Cf2oK/8dqL91L3Oi/cPIFDyJ
K6Xg9vW+ZLOUBmcBxXZmpvaWmUScEf8edriH75QYkVPbIqaf6FXMPR0yJUEHzmYNKFmegYOmYbBDauIqM/nFtOaE9rFtprIh
zeeGaC/+ZO7CstVKcz1kV63X/jZ5LHVXzld2DNxC1hfrkldnsbenH+cn6C45pmZvAmLkBLjddaT5Q9UuQJwsvn61C87s6cTp
bLkjC1Aaox/yF+Vt9fxDI+VXFewYWDewSwGWeYYdumBLbMdbJVSNrQPo1ERTx9OojyxMaA8t2+/dIFUVlnylJZe0bAyFVi0u
XHSZreW+Z8u8U6+B2U4RC/wTOHwTrmYyI0A4548KsxER1jXzRnzRZcf8Ioakdg+Ra52+7k/XwVw4h1nGz5H+vR9bIlMdX7fc
q3U7n+ywQj4mt8jJ4B0j83VWhy0Hg1aHj0MJLGCerxgT+jkHTW+o/YnPAH4s3UbhZ4h1CllX8dd1KKjqC/tHqAnhANN90kWb
rq7ypdOj6WsBO3YVSCMCgKVHFCJs96yj+XP/5fWf9lvFh/Brq3UMDp7YAHDDNrNCQIfV2uj2+/qEhdaLoQTXiwXr+vwx6Zqb
SFiy6GefCLIFKM1LYenkYM1IRmYDDUZxZ5pRR+noGABTaKXBAEIOTbr1FHU12FYhyy4zhanDvphI0Gi8j2NzkWVJlPKkWi7H
6RwsIaaK3zaUDowuGMCpY0jm+mIT7JTJX6jU37f/0fo6q4CsSg6NsSjCz+ePMlWjWIWaD8he8KG7/N736Z3CPEfEJebiRDq5
NIWSKTvmLBJ4x1RRcKU8SjPittVXbCpT3LLm3xcTEA85DtTS/1PgNuoGTaIStl6lFmynh+pARaH2fogNBMnYcPICVh9wBdaE
M/X4RfG0tfrAvOlJbrtIGMEjJ3tw2J5MxAZm/75LmT8n/NCk+AvdlTZqJkNYMuhbTAqbVZKQTw5l9VQIoT8LP10HO5BiFvWu
xFBGbxDOwKrAvJUb9EqgUtOThtfYtjRd60XWwS5k0kZDalfYYJFFuWc44NADGf7dAO6zNJNQ4jNz5iotVE1QiWsKvYPw9cX6
psQD5/BMDr5BMyvWFJusc1m/njvu8uwvwivNPRIm5bNI2j6CRaHqeCNhM5TzV9l6FWKGBdXS7t3MBtRTHWBGF9DSpS2dqJTn
3Dcxkl5/rnDmpGhb2C9ZwOiQBKWWuHZhc+3sZkcRAjI6HwpTcWnrOAbZ6WNFQtEKkIcbCr80Z3yZYj21n9YcMW0z+c6y3HlZ
kK8lWpoQgIgwBAdjiMDDDqXIl4SnWoYJW9BIJ6x5n8jBIyoQxe6nP6bEQ4lAYn+5M11u1a5DZ0u640DzsReWxn6BWTIQxTkS
hZi0M1XFbAlqMdS8wXz+deO6xKa2XoJLanqYR0yoJdPvhenBrFC3PNDrs7ftVII6tNaEALpInkGKvQib2ucWQFyKH01gYUdy
lgRG9hf9vM4WUPtrCTr1cRphEIaru+RIlQXhvAxT5vo/sbkW9/td7mgWuI2mk613MqqSpn7FS9+3vq5sTJKarkTnxfffuo1X
aJIy7UraJS2KfbgzF9CSyOx1seDwrxPT7f8zvo1r7zFAZEMyoMuRQYkE+lDCrGaGZdueq7IWnBlHO7sTUdFe8GaUwIl4O1A3
E6HSfujr/+T3GsqSO+/s4zSLQBGgLRB+16FrKVByaoqmdimZUTTNadnUvlRw3NGrRit4mbEtNE4VqmW4xDNY/u5XpXnn9toh
8kdiv0KYMNJOmGT907zDLOBpORpMLlyScl1LhledULXpzMTnYy9nHtZwefNo9xHMRDkeSZyaFGfId9RUC96q/sC4D9a47Qt1
tejHLVGDvmXwhu/xiUFEnv6McryOccrCva2CE6ekk/MN+WiAzwo7soLQoxbnw2Ufr4QaAc3Jh9t++Ol6LKuyGRrLe/Q02+E3
9UaasQvnbz4fBVr6hvEurQiQ4VOu/5NjOKcDoO/axuAiKcchRi9eD00gqLHllT+G95sm/8cQ/214nabPvFbz0xfYiCZ1hcdd
2Uwga1R6lIzImsBL4C4Q0QwrOEGHjXPF3go2bxKQYukkSveEZtoX/Gw9n5KG7JU79Xck6sIQUsEBDkJYwyiAcGXbJPIaXjX/
WOSg2mA47FWthzrH1+m1xxNlkZ5AlHFJSnUkhGiri4NbnG7pDVIpiEBY/7oVd345rzURRlqM414l9pU1iAVZt4MAD95eWi8+
HczcV8Rko7ssZutytBIv5TOUxRVhL+ojnB9L+49qGdlHIs6LIYxmXg+uNpSReYO4V1RCH+Kr+IMx6dHI5waQw/cL6YBfcKgA
3eWuJohUIHjkADmjHIpqOORaIxgDyNBX7S1hIMnUK4+dU4I6XjyPbJoYFdhxTX7ZLOH9uHujQdLU5Q9lpAY7Arwms6rWKvXf
rb1GXGVn6U0CBjQlNx+j8AYoOIDSqhAoGPoc+x+NtmgJl5btxf2fAcmyMs1jZ5JeiwS6Qe9WQLOGqqwGSxYHKr5GGzhFxLaF
VROpI4dFwL1TEKAcJC3o6eQvPvZHFvrD81Whce1YbTLYDqfZzCro2RoUPHBBFR2tXfgjTfZ1V0uy9vYK/yBKeEcxmb1qM5QY
v5fxMnsxcLX0XC3A0uwrX9k8Io4lJOoHSiHzUA6WfA35p/GSaQZ1wVIAZ8nQpIhAwjaKMHTFkBh2nwWIyOKN0g9gWxZQM1aQ
klgMb91tRx9kp+0oNe/8ac3GE514j+evprDeYbc13GO59wgvHJVnALxBh76SjrzIjglCXM//kDf2T5AeWJcbKB2KQcmxWqJD
DWFHOTkk68SIplzwqBXH3dORBXvNljwJt9BAc1znLxRrXDmBabd6jsrh1Te9jV1wqTIeTCl6WmVXlLXOZEUfMFqu/iwQeYt8
CTN5jAb060DdpZLvsaZbzzxedE0wqSu86UnQsSFoF9gcuJbfXw5G/wKv2X3/PhxyXhp93TDEgEiF+cerHO33WrDtl7tkgU02
kl05m3ZgzlREN0jdZD1FGvH577o=
"""
SIDES = ["left", "right", "links und rechts", ""]


@pytest.fixture(params=["7", "7.3"])
def file(request, tmp_path) -> Path:
    """Return a file of each version."""
    if request.param == "7.3":
        pytest.importorskip("h5py")
    content = VERSION_7 if request.param == "7" else VERSION_73
    path = tmp_path / "objects.mat"
    path.write_bytes(lzma.decompress(base64.b64decode(content)))
    return path


def test_text_and_tables_are_read(file):
    r = pl.read_mat(
        file,
        "y",
        dt=0.05,
        trials={"side": "side", "kind": "kind", "rt": "t.rt", "wait": "wait"},
        inputs=["t.cue", {"from": 0.1, "to": 0.2, "value": "side == 'right'"}],
    )
    wanted = np.random.default_rng(0).poisson(2.0, (4, 6, 3))
    assert np.array_equal(r.activity, wanted)
    assert r.trials["side"].tolist() == SIDES
    assert r.trials["kind"].tolist() == ["go", "stop", "go", "go"]
    assert r.trials["rt"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert r.trials["wait"].tolist() == [1.5, 2.5, 0.5, 0.25]
    assert r.inputs[:, 0, 0].tolist() == [1, 2, 3, 4]
    assert r.inputs[:, 2, 1].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("when", r"a datetime, of which the file holds a pointer.* save posixtime\(when\)"),
        ("side", r"must hold numbers, or cells that do; it is text \('left', 'right'"),
        ("t", "a structure with fields rt, cue"),
        ("t.rtt", "no field 'rtt'; fields: rt, cue. Did you mean 'rt'"),
        ("when.x", "what comes before 'x' is an object of MATLAB, a datetime"),
        ("sid", r"no variable 'sid'; it has .*side .string object.*Did you mean 'side'"),
    ],
)
def test_what_is_not_read_is_said(file, key, message):
    with pytest.raises(InputError, match=message):
        MatFile(file).get(key)


def test_a_damaged_hidden_part_is_no_number(file):
    content = MatFile(file)
    pointer = content.get("side", text=True)
    assert pointer.ravel().tolist() == SIDES
    if not content.is_hdf5:
        content._content["__function_workspace__"] = np.zeros((1, 64), dtype=np.uint8)
        with pytest.raises(InputError, match="an object of MATLAB, a string"):
            content.get("side", text=True)
        return
    import h5py

    with h5py.File(file, "r+") as raw:
        del raw["#subsystem#/MCOS"]
    with pytest.raises(InputError, match="an object of MATLAB, a string"):
        MatFile(file).get("side", text=True)


# -- files of version 7.3 written by hand ----------------------------------------------------------


def cells(parts):
    stored = np.empty(len(parts), dtype=object)
    stored[:] = parts
    return stored


def hdf5(path, put):
    """Write a file of version 7.3 by hand."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as raw:

        def stored(name, data, kind, **attributes):
            node = raw.create_dataset(name, data=data)
            node.attrs["MATLAB_class"] = np.bytes_(kind)
            for key, value in attributes.items():
                node.attrs[key] = value
            return node

        put(raw, stored)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


def test_text_labels_of_trials(tmp_path):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    y = rng.poisson(2.0, (6, 10, 4)).astype(float)
    sides = ["left", "right", "", "right", "left", "right"]
    blocks = ["ab", "c", "ab", "c", "d", "d"]
    savemat(
        tmp_path / "a.mat",
        {"y": y, "side": cells(sides), "block": np.array(blocks)},
    )

    def put(raw, stored):
        stored("y", y.T, "double")
        hidden = raw.create_group("#refs#")
        references = []
        for k, side in enumerate(sides):
            codes = np.array([[ord(c)] for c in side], "u2") if side else np.zeros(2, "u8")
            node = hidden.create_dataset(f"r{k}", data=codes)
            node.attrs["MATLAB_class"] = np.bytes_("char")
            if not side:
                node.attrs["MATLAB_empty"] = np.uint8(1)
            references.append(node.ref)
        data = np.array(references, dtype=object)[None]
        cell = raw.create_dataset("side", data=data, dtype=h5py.ref_dtype)
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        letters = np.array([[ord(c) for c in row.ljust(2)] for row in blocks])
        stored("block", letters.T.astype("u2"), "char", MATLAB_int_decode=np.int32(2))

    for file in (tmp_path / "a.mat", hdf5(tmp_path / "b.mat", put)):
        r = pl.read_mat(file, "y", dt=0.05, trials=["side", "block"])
        assert np.array_equal(r.activity, y)
        assert r.trials["side"].tolist() == sides
        assert r.trials["block"].tolist() == blocks
        signed = {"from": 0.1, "to": 0.2, "value": "side == 'right'"}
        r = pl.read_mat(file, "y", dt=0.05, trials=["side"], inputs=signed)
        assert r.inputs[:, 2, 0].tolist() == [0, 1, 0, 1, 0, 1]
        with pytest.raises(InputError, match=r"text \('left'\), which can be a column"):
            pl.read_mat(file, "y", dt=0.05, inputs="side")


@pytest.mark.parametrize("kind", ["string", "table", "categorical", "datetime", "MyClass"])
def test_pointers_to_objects_are_no_numbers(kind, tmp_path):
    y = np.random.default_rng(0).poisson(2.0, (6, 10, 4)).astype(float)

    def put(raw, stored):
        stored("y", y.T, "double")
        pointer = np.array([[0xDD000000, 2, 6, 1, 1, 1]], dtype="u4")
        stored("side", pointer, kind, MATLAB_object_decode=np.int32(3))

    file = hdf5(tmp_path / "b.mat", put)
    assert pl.read_mat(file, "y", dt=0.05).n_trials == 6
    for options in ({"inputs": "side"}, {"trials": ["side"]}, {"outputs": "side"}):
        with pytest.raises(InputError, match=f"an object of MATLAB, a {kind}.*In MATLAB, save"):
            pl.read_mat(file, "y", dt=0.05, **options)
    with pytest.raises(InputError, match=f"side .{kind} object."):
        pl.read_mat(file, "z", dt=0.05)


def test_sparse_and_logical_arrays_of_version_73(tmp_path):
    from scipy.sparse import csc_matrix

    rng = np.random.default_rng(0)
    y = rng.poisson(0.4, (60, 4)).astype(float)
    k = np.repeat(np.arange(1.0, 7.0), 10)
    packed = csc_matrix(y)

    def put(raw, stored):
        group = raw.create_group("y")
        group.attrs["MATLAB_class"] = np.bytes_("double")
        group.attrs["MATLAB_sparse"] = np.uint64(60)
        for name, data in (("data", packed.data), ("ir", packed.indices), ("jc", packed.indptr)):
            group.create_dataset(name, data=data)
        stored("k", k[None], "double")
        stored("on", (np.arange(6) % 2).astype("u1")[None], "logical", MATLAB_int_decode=1)

    file = hdf5(tmp_path / "b.mat", put)
    r = pl.read_mat(file, "y", dt=0.05, trial_index="k", inputs="on", observed="counts")
    assert np.array_equal(r.activity.reshape(60, 4), y)
    assert r.inputs[:, 0, 0].tolist() == [0, 1] * 3
