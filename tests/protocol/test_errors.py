"""A wrong protocol is one message: where, what is allowed, what was probably meant."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from predictlearn.errors import InputError
from predictlearn.protocol import Protocol, shipped_protocols

pytestmark = pytest.mark.quick

TEXT = """\
name: small
seed: 3
tau: 1.0
cohort:
  networks: 3
  overlaps: {zm: 0.1, vm: 0.1}
  spread: 0.05
tasks:
  A: {type: filter, decay: 0.2}
  B:
    type: flip-flop
    wait: [1, 2]
    trials: 2
rule: {rate: 5e-3}
arms:
  first:
    phases:
      - {task: A, epochs: 20}
      - task: B
        epochs: 10
        rule: {rate: 0.01}
  second:
    start: {uu: 2.05, mu: 0.5}
    phases:
      - {task: A, epochs: 20}
evaluate: [A]
"""


def written(tmp_path, text):
    path = tmp_path / "small.yaml"
    path.write_text(text)
    return path


def test_the_text_itself_is_right(tmp_path):
    protocol = Protocol.load(written(tmp_path, TEXT))
    assert protocol.arms == ("first", "second")
    assert protocol.spec.rule.rate == 0.005
    assert protocol.sizes == (1, 1, 1)


# what to replace, by what, and what the message must say; the line is that of the mistake
MISTAKES = [
    (
        "networks: 3",
        "network: 3",
        r"line 5: cohort\.network: there is no such key here; the keys "
        r"are networks, rank, .*Did you mean 'networks'\?",
    ),
    (
        "networks: 3",
        "networks: three",
        r"line 5: cohort\.networks: must be a whole number; got 'three'",
    ),
    (
        "networks: 3",
        "networks: 0",
        r"line 5: cohort\.networks: must be greater than or equal to 1; "
        r"got 0",
    ),
    ("networks: 3", "networks: 2.5", r"line 5: cohort\.networks: must be a whole number; got 2\.5"),
    ("tau: 1.0", "tau: -1", r"line 3: tau: must be greater than 0; got -1"),
    ("tau: 1.0", "tau: .inf", r"line 3: tau: must be a finite number"),
    ("tau: 1.0", "tua: 1.0", r"line 3: tua: there is no such key.*Did you mean 'tau'"),
    ("tau: 1.0", "tau: 0.01", r"line 9: tasks\.A: its bin width dt = 0\.05 s must be at most tau"),
    (
        "name: small",
        "nonlinearity: ref",
        r"the key 'name' is missing\n.*line 1: nonlinearity: this must be one of 'linear', "
        r"'erf', 'tanh'; got 'ref'\. Did you mean 'erf'",
    ),
    (
        "zm: 0.1",
        "mz: 0.1",
        r"line 6: cohort\.overlaps\.mz: 'mz' is not one of the overlaps: zm, zu"
        r".*Did you mean 'zm'",
    ),
    ("zm: 0.1", "zm: 5", r"line 6: cohort\.overlaps: no network has the cohort's overlaps"),
    (
        "spread: 0.05",
        "spread: lots",
        r"line 7: cohort\.spread: must be a number or must be a "
        r"mapping of keys to values; got 'lots'",
    ),
    (
        "spread: 0.05",
        "distribution: {type: random-loadings, n_neurons: 50}",
        r"line 4: cohort: a cohort has either overlaps",
    ),
    ("type: filter", "type: filtre", r"line 9: tasks\.A\.type: type must be one of .*'filter'\?"),
    ("{type: filter, ", "{", r"line 9: tasks\.A: the key 'type' is missing; it is one of filter"),
    (
        "decay: 0.2",
        "decya: 0.2",
        r"line 9: tasks\.A\.decya: decya is not a setting of the task "
        r"'filter', which has decay, .*Did you mean 'decay'",
    ),
    ("decay: 0.2", "decay: fast", r"line 9: tasks\.A\.decay: decay must be zero or a positive"),
    ("wait: [1, 2]", "wait: [2, 1]", r"line 12: tasks\.B\.wait: wait must be \(low, high\)"),
    ("rule: {rate: 5e-3}", "rule: {rate: 0}", r"line 14: rule\.rate: must be greater than 0"),
    ("rule: {rate: 5e-3}", "rule: {}", r"the rule needs a rate, such as rate: 0\.005"),
    (
        "rule: {rate: 5e-3}",
        "rule: {rate: 1, pathway_rates: {w: 0}}",
        r"line 14: rule\.pathway_rates: 'w' is no pathway where factors learn",
    ),
    (
        "rule: {rate: 5e-3}",
        "rule: {type: gradient-flow, momentum: 0.5}",
        r"momentum does not go with this type of rule, which has rtol",
    ),
    (
        "rule: {rate: 5e-3}",
        "rule: {type: gradient-flow}",
        r"line 19: arms\.first\.phases\[1\]\.task: gradient-flow needs a task that shows the same",
    ),
    (
        "task: B",
        "task: b",
        r"line 19: arms\.first\.phases\[1\]\.task: 'b' is not one of the tasks"
        r".*Did you mean 'B'",
    ),
    ("        epochs: 10\n", "", r"line 19: arms\.first\.phases\[1\]: epochs is missing"),
    (
        "        epochs: 10\n",
        "        epoch: 10\n",
        r"line 20: arms\.first\.phases\[1\]\.epoch: .*Did you mean 'epochs'",
    ),
    (
        "rule: {rate: 0.01}",
        "rule: {rat: 0.01}",
        r"line 21: arms\.first\.phases\[1\]\.rule\.rat: "
        r"there is no such key.*Did you mean 'rate'",
    ),
    ("rule: {rate: 0.01}", "readout: {zm: 1}", r"either trains .* or changes the readout"),
    ("rule: {rate: 0.01}", "name: 1-A", r"the name '1-A' comes twice in this arm"),
    (
        "mu: 0.5",
        "zm: 0.5",
        r"line 23: arms\.second\.start\.zm: 'zm' is not one of the "
        r"loss-invisible overlaps \(linear\): mu, zv, mm, uu, vv, zz$",
    ),
    ("mu: 0.5", "mu: 5", r"line 23: arms\.second\.start: no network has these.*mu in"),
    (
        "evaluate: [A]",
        "evaluate: [A, C]",
        r"line 26: evaluate\[1\]: 'C' is not one of the tasks: "
        r"A, B",
    ),
    ("evaluate: [A]", "evaluate: [A, A]", r"'A' comes twice"),
    ("evaluate: [A]", "engine: network", r"line 26: engine: the network needs n_neurons"),
    ("evaluate: [A]", "n_neurons: 9", r"line 26: n_neurons: this goes with engine: network"),
    ("evaluate: [A]", "{engine: network", r"line \d+: this is not YAML"),
    ("evaluate: [A]", "seed: 4", r"line 26: seed: this key comes twice, in lines 2 and 26"),
    ("    wait: [1, 2]", "   wait: [1, 2]", r"line 12: this is not YAML: .*indentation"),
    (
        "rule: {rate: 5e-3}",
        "rule: {type: adam, rate: 1e-3}",
        r"line 14: rule: adam acts on single synapses, so it has no closed form in the overlaps; "
        r"it needs engine: network",
    ),
    (
        "rule: {rate: 0.01}",
        "rule: {type: sign-descent, rate: 0.01}",
        r"line 21: arms\.first\.phases\[1\]\.rule: sign-descent acts on single synapses",
    ),
    (
        "    start: {uu: 2.05, mu: 0.5}",
        "    rule: {type: rmsprop, rate: 0.01}",
        r"line 23: arms\.second\.rule: rmsprop acts on single synapses",
    ),
    (
        "    start: {uu: 2.05, mu: 0.5}",
        "    rule: {type: adam}",
        r"line 23: arms\.second\.rule: the rule needs a rate of its own, a step of the loadings",
    ),
    (
        "    start: {uu: 2.05, mu: 0.5}",
        "    engine: network",
        r"line 23: arms\.second\.engine: the network needs n_neurons",
    ),
    (
        "    start: {uu: 2.05, mu: 0.5}",
        "    n_neurons: 50",
        r"line 23: arms\.second\.n_neurons: this goes with engine: network",
    ),
    (
        "    start: {uu: 2.05, mu: 0.5}",
        "    engine: network\n    n_neurons: 3",
        r"line 24: arms\.second\.n_neurons: must be at least 4, the number of loading vectors",
    ),
    (
        "    start: {uu: 2.05, mu: 0.5}",
        "    engine: network\n    n_neurons: 50\n    rule: {type: direct-descent}",
        r"line 25: arms\.second\.rule: direct-descent moves the overlaps themselves, so it needs "
        r"engine: theory; networks of neurons learn by gradient-descent, adam",
    ),
    (
        "    start: {uu: 2.05, mu: 0.5}",
        "    engine: neurons",
        r"line 23: arms\.second\.engine: this must be one of 'theory', 'network'; got 'neurons'",
    ),
    (
        "rule: {rate: 5e-3}",
        "rule: {type: gradient-decent, rate: 5e-3}",
        r"line 14: rule\.type: .*'adam', 'rmsprop', 'sign-descent'; got .*'gradient-descent'\?",
    ),
    (
        "rule: {rate: 5e-3}",
        "rule: {rate: 5e-3, beta1: 0.5}",
        r"line 14: rule: beta1 does not go with this type of rule, which has rate",
    ),
    (
        "rule: {rate: 5e-3}",
        "rule: {rate: 5e-3, schedule: {type: dorp}}",
        r"line 14: rule\.schedule\.type: this must be one of 'drop', 'decay'.*Did you mean 'drop'",
    ),
    (
        "rule: {rate: 5e-3}",
        "rule: {rate: 5e-3, schedule: {type: drop, fctor: 5}}",
        r"line 14: rule\.schedule\.fctor: there is no such key.*Did you mean 'factor'\?$",
    ),
    (
        "rule: {rate: 5e-3}",
        "rule: {rate: 5e-3, schedule: {type: drop, epochs: 5}}",
        r"line 14: rule\.schedule: epochs does not go with type 'drop', which has factor, below$",
    ),
    (
        "rule: {rate: 5e-3}",
        "rule: {rate: 5e-3, schedule: {type: decay}}",
        r"line 14: rule\.schedule: a decay needs epochs",
    ),
    (
        "rule: {rate: 5e-3}",
        "rule: {rate: 5e-3, schedule: 0.5}",
        r"line 14: rule\.schedule: must be a mapping of keys to values.*; got 0\.5$",
    ),
    (
        "rule: {rate: 5e-3}",
        "rule: {rate: 5e-3, schedule: [1, -1]}",
        r"line 14: rule\.schedule\[1\]: must be greater than or equal to 0; got -1$",
    ),
    (
        "rule: {rate: 5e-3}",
        "rule: {rate: 5e-3, schedule: []}",
        r"line 14: rule\.schedule: must have at least 1 item",
    ),
    (
        "rule: {rate: 0.01}",
        "rule: {minibatch: 3}",
        r"line 21: arms\.first\.phases\[1\]\.rule\.minibatch: must be at most the number of trials "
        r"of task 'B', 2; got 3$",
    ),
    (
        "  B:\n    type: flip-flop\n    wait: [1, 2]\n    trials: 2\n",
        "  B: {type: reaching}\n",
        r"line 10: tasks\.B: has 3 input\(s\) and 2 output\(s\), where 'A'",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_a_mistake_is_named_with_its_line(tmp_path, old, new, message):
    assert old in TEXT
    with pytest.raises(InputError, match=message) as caught:
        Protocol.load(written(tmp_path, TEXT.replace(old, new, 1)))
    assert "small.yaml" in str(caught.value)


def test_all_mistakes_come_in_one_message_in_the_order_of_the_file(tmp_path):
    text = TEXT.replace("seed: 3", "sed: 3").replace("networks: 3", "networks: -1")
    with pytest.raises(InputError) as caught:
        Protocol.load(written(tmp_path, text))
    first, second = str(caught.value).splitlines()
    assert "line 2: sed" in first
    assert "line 5: cohort.networks" in second


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="a protocol must be a list of keys"):
        Protocol.load(written(tmp_path, text))


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="cannot be read as text"):
        Protocol.load(path)


def test_a_missing_file_lists_what_ships():
    with pytest.raises(InputError, match=r"no protocol file abba; .*aba, .*Did you mean 'aba'"):
        Protocol.load("abba")
    with pytest.raises(InputError, match="is a folder"):
        Protocol.load("/")


def test_yaml_is_read_as_people_mean_it(tmp_path):
    text = TEXT.replace("  A: {type", "  off: {type").replace("task: A", "task: off")
    text = text.replace("evaluate: [A]", "evaluate: [off]").replace("seed: 3", "seed: 010")
    protocol = Protocol.load(written(tmp_path, text))
    assert list(protocol.tasks) == ["off", "B"]
    assert protocol.spec.seed == 10


def test_anchors_and_merged_keys_work(tmp_path):
    text = TEXT.replace(
        "      - {task: A, epochs: 20}\n      - task",
        "      - &p {task: A, epochs: 20}\n      - {<<: *p, epochs: 7}\n      - task",
    )
    phase = Protocol.load(written(tmp_path, text)).spec.arms["first"].phases[1]
    assert (phase.task, phase.epochs) == ("A", 7)
    with pytest.raises(InputError, match="contains itself"):
        Protocol.load(written(tmp_path, "a: &x [*x]\n"))


def test_a_dictionary_is_checked_by_path():
    data = Protocol.load("aba").to_dict()
    wrong = copy.deepcopy(data)
    wrong["arms"]["aba"]["phases"][2]["epochs"] = -1
    with pytest.raises(InputError, match=r"the protocol: arms\.aba\.phases\[2\]\.epochs: must be"):
        Protocol.from_dict(wrong)
    assert Protocol.from_dict(data).to_dict() == data
    with pytest.raises(InputError, match="data must be a mapping"):
        Protocol.from_dict([1])


def test_numpy_numbers_in_a_dictionary_are_numbers():
    data = Protocol.load("aba").to_dict()
    data["cohort"]["networks"] = np.int64(2)
    data["rule"]["rate"] = np.float64(0.01)
    assert Protocol.from_dict(data).spec.cohort.networks == 2


DISTRIBUTIONS = [
    ({"type": "absolute-normal", "n_neurons": 5}, "n_neurons does not go with type"),
    ({"type": "absolute-normal", "norms": [2.0, 1.0]}, r"norms must be \[low, high\]"),
    ({"type": "random-loadings"}, "random-loadings needs n_neurons"),
    ({"type": "random-loadings", "n_neurons": 3}, "must be at least 4"),
    ({"type": "random-loadings", "n_neurons": 9, "norms": [1.0, 2.0]}, "must be one number"),
    ({"type": "random-loadings", "n_neurons": 9, "norms": {"w": 1.0}}, "a pathway of norms must"),
    ({"type": "random-loadings", "n_neurons": 9, "norms": {"u": 0.0}}, "greater than 0"),
    ({"type": "absolute-normal", "norms": {"u": 1.0}}, "norms by pathway go with random-loadings"),
    ({"type": "normal"}, "must be one of 'absolute-normal', 'random-loadings'"),
]


@pytest.mark.parametrize(("distribution", "message"), DISTRIBUTIONS)
def test_wrong_distributions(distribution, message):
    with pytest.raises(InputError, match=message):
        Protocol.load("aba").replace(cohort={"distribution": distribution})


def test_a_cohort_that_cannot_be_drawn_says_why():
    protocol = Protocol.load("aba").replace(
        cohort={"distribution": {"type": "absolute-normal", "cross_sd": 50.0}, "max_draws": 20}
    )
    with pytest.raises(InputError, match=r"none of 20 draws .*not realisable.*cross_sd smaller"):
        protocol.run()


def test_shipped_protocols_are_the_four():
    assert set(shipped_protocols()) >= {
        "aba",
        "perturbation-exposure",
        "readout-perturbation",
        "training-order",
    }
