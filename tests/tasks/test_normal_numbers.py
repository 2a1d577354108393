"""The normal numbers of the tasks: exactness of the transform, and every statistic we could name.

All seeds are fixed, so a test that passes once passes always; limits are those of p = 1e-4 or
stricter after correction for how many statistics a test looks at, unless it says otherwise.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from predictlearn.errors import InputError
from predictlearn.tasks import normal_numbers as source
from predictlearn.tasks.normal_numbers import fill_normal

STEP = np.uint64(0x9E3779B97F4A7C15)
LONG = np.longdouble
P = 1e-4


def normals(seed, n, scale=1.0):
    out = np.empty(n)
    fill_normal(np.random.default_rng(seed), out, scale)
    return out


def keys_of(seed):
    raw = np.random.default_rng(seed).bit_generator.random_raw(4)
    return raw[0] ^ (raw[1] << np.uint64(32)), raw[2] ^ (raw[3] << np.uint64(32))


def mix(x):
    """SplitMix64's output function, in numpy."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def words_of(seed, n):
    """The two words behind each of n pairs."""
    counter = np.arange(n, dtype=np.uint64) * STEP
    return tuple(mix(key + counter) for key in keys_of(seed))


def ones(words):
    """How many bits of each word are set."""
    return np.unpackbits(words.view(np.uint8)).reshape(-1, 64).sum(axis=1)


def limit(n_statistics):
    """How large the largest of so many standard normal statistics may be."""
    return stats.norm.isf(P / 2 / n_statistics)


# -- the numbers are what they are said to be ---------------------------------------------------


def test_the_hash_is_splitmix64():
    """The published sequence of seed 1234567."""
    seed, step = 1234567, int(STEP)
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    found = [int(source._mix(np.uint64((seed + (k + 1) * step) % 2**64))) for k in range(5)]
    assert found == expected


def test_against_the_transform_in_extended_precision():
    n = 1 << 19
    a, b = words_of(3, n)
    u = ((a >> np.uint64(11)).astype(LONG) + 1) * LONG(2) ** -53
    turn = (b.astype(np.int64) >> 11).astype(LONG) * LONG(2) ** -55
    # quarters by multiples of a quarter turn, not by the signs and the exchange of the loop
    flipped, swapped = (b & np.uint64(1)) > 0, (b & np.uint64(2)) > 0
    angle = 2 * LONG("3.14159265358979323846264338327950288") * turn
    cos, sin = np.cos(angle), np.sin(angle)
    r = np.sqrt(-2 * np.log(u))
    x, y = np.where(flipped, -r * cos, r * cos), r * sin
    expected = np.concatenate([np.where(swapped, y, x), np.where(swapped, x, y)])
    found = normals(3, 2 * n)
    assert np.max(np.abs(found - expected) / np.abs(expected)) < 2e-15
    # numpy's own double-precision transform is no closer
    plain = np.sqrt(-2 * np.log(u.astype(float))) * np.sin(angle.astype(float))
    wrong = np.max(np.abs(plain - y) / np.abs(y))
    ours = np.abs(np.where(swapped, found[:n], found[n:]) - y) / np.abs(y)
    assert ours.max() < 2 * wrong + 1e-15


@pytest.mark.parametrize("word", [0, 1, 2**11, 2**12 - 1, 2**63, 2**64 - 2**12, 2**64 - 1])
def test_radius_at_the_ends_of_the_unit_interval(word):
    u = (LONG(word >> 11) + 1) * LONG(2) ** -53
    found = source._squared_radius(np.uint64(word))
    assert found == pytest.approx(float(-2 * np.log(u)), rel=1e-15, abs=0.0)
    assert found >= 0.0


def test_golden_numbers():
    """The same on every processor, whatever the width of its vectors."""
    found = normals(5, 2**21)
    assert found[:3].tolist() == [0.8450849164189445, -1.1595598739974793, 1.1702713131068807]
    assert found[-2:].tolist() == [-1.1386773037997642, 0.15831158425003702]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 1023, 1025])
def test_every_size_is_filled_and_the_generator_moves_alike(n):
    rng, out = np.random.default_rng(1), np.full(n + 2, np.nan)
    fill_normal(rng, out[1 : n + 1])
    assert np.isnan(out[[0, -1]]).all()
    assert np.isfinite(out[1:-1]).all()
    assert len(np.unique(out[1:-1])) == n
    half = n // 2
    reference = normals(1, 2048)
    np.testing.assert_array_equal(out[1 : 1 + half], reference[:half])
    np.testing.assert_array_equal(out[1 + half : 1 + 2 * half], reference[1024 : 1024 + half])
    other = np.random.default_rng(1)
    other.bit_generator.random_raw(4)
    assert rng.random() == other.random()


def test_shape_scale_and_reproducibility():
    flat, shaped = np.empty(60), np.empty((3, 4, 5))
    fill_normal(np.random.default_rng(2), flat, 1.0)
    fill_normal(np.random.default_rng(2), shaped, 2.0)
    np.testing.assert_allclose(shaped.ravel(), 2 * flat, rtol=1e-15)
    fill_normal(np.random.default_rng(2), shaped, 0.0)
    assert not shaped.any()


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_generator_of_numpy_will_do(kind):
    out = np.empty(100_000)
    fill_normal(np.random.Generator(getattr(np.random, kind)(0)), out)
    assert stats.kstest(out, "norm").pvalue > 1e-3


def test_wrong_arguments_are_refused():
    rng = np.random.default_rng(0)
    for out in (np.empty((4, 4))[:, :2], np.empty(4, np.float32), [0.0, 1.0]):
        with pytest.raises(InputError, match="out must be a C-contiguous array of float64"):
            fill_normal(rng, out)
    with pytest.raises(InputError, match="rng must be a numpy Generator; got int"):
        fill_normal(0, np.empty(3))


# -- their distribution -------------------------------------------------------------------------

N = 4_000_000


@pytest.fixture(scope="module")
def sample():
    return normals(11, N)


def test_moments_to_the_eighth(sample):
    double = special.factorial2
    for k in range(1, 9):
        expected = double(k - 1) if k % 2 == 0 else 0.0
        variance = double(2 * k - 1) - expected**2
        assert abs(np.mean(sample**k) - expected) < limit(8) * np.sqrt(variance / N)


def test_kolmogorov_smirnov_and_anderson_darling(sample):
    assert stats.kstest(sample, "norm").pvalue > P
    ordered = np.sort(sample)
    i = np.arange(1, N + 1)
    log_below, log_above = special.log_ndtr(ordered), special.log_ndtr(-ordered[::-1])
    a_squared = -N - np.mean((2 * i - 1) * (log_below + log_above))
    # fully specified distribution: 3.857 is exceeded once in 100, 6.0 once in 1000
    assert a_squared < 6.0


def test_p_values_over_seeds_are_uniform():
    p = [stats.kstest(normals(seed, 20_000), "norm").pvalue for seed in range(300)]
    assert stats.kstest(p, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("start", [0, 1])
def test_tails_hold_as_many_as_they_should(start):
    """Counts beyond 3, 4 and 5 sd on either side of 2e7 numbers: 27,000, 633 and 5.7 expected."""
    counts = np.zeros((3, 2))
    n = 0
    for seed in range(100 + 10 * start, 110 + 10 * start):
        x = normals(seed, 2_000_000)
        n += x.size
        for row, beyond in enumerate((3.0, 4.0, 5.0)):
            counts[row] += np.sum(x > beyond), np.sum(x < -beyond)
        assert np.abs(x).max() < 8.6
    for row, beyond in enumerate((3.0, 4.0, 5.0)):
        expected = n * stats.norm.sf(beyond)
        low, high = stats.poisson.ppf([P / 12, 1 - P / 12], expected)
        assert low <= counts[row].min()
        assert counts[row].max() <= high


def test_cells_of_equal_probability_alone_and_in_pairs(sample):
    cell = np.minimum((special.ndtr(sample) * 64).astype(int), 63)
    single = np.bincount(cell, minlength=64)
    assert stats.chisquare(single).pvalue > P
    # neighbours, and the two of a pair, which lie half the array apart
    for one, other in ((cell[:-1], cell[1:]), (cell[: N // 2], cell[N // 2 :])):
        assert stats.chisquare(np.bincount(one * 64 + other, minlength=4096)).pvalue > P
    thirds = cell[: N // 3 * 3].reshape(-1, 3) // 8
    triple = thirds[:, 0] * 64 + thirds[:, 1] * 8 + thirds[:, 2]
    assert stats.chisquare(np.bincount(triple, minlength=512)).pvalue > P


# -- their independence -------------------------------------------------------------------------


def autocorrelations(x, n_lags):
    x = (x - x.mean()) / x.std()
    size = 1 << int(np.ceil(np.log2(2 * x.size)))
    power = np.abs(np.fft.rfft(x, size)) ** 2
    return np.fft.irfft(power)[1 : n_lags + 1] / x.size


@pytest.mark.parametrize("what", ["values", "squares", "signs"])
def test_no_serial_correlation_at_any_lag(what):
    """All lags to 20,000 (lanes, trials, bins), and those around the distance of a pair."""
    n = 1 << 20
    x = normals(21, n)
    x = {"values": x, "squares": x**2, "signs": np.sign(x)}[what]
    r = autocorrelations(x, n - 1)
    lags = np.arange(1, n)
    z = r * n / np.sqrt(n - lags)
    near = np.concatenate([z[:20_000], z[n // 2 - 50 : n // 2 + 50]])
    assert np.abs(near).max() < limit(near.size)
    total = np.sum(z[:20_000] ** 2)
    assert abs(total - 20_000) < limit(1) * np.sqrt(2 * 20_000)


def test_lanes_of_a_vector_are_independent():
    for width in (2, 4, 8, 16):
        lanes = normals(22, 1 << 20).reshape(-1, width)
        for values in (lanes, lanes**2):
            r = np.corrcoef(values.T)[np.triu_indices(width, 1)]
            assert np.abs(r).max() * np.sqrt(len(lanes)) < limit(r.size)


def test_successive_calls_and_seeds_are_independent():
    rng, n = np.random.default_rng(23), 4096
    calls = np.empty((400, n))
    for row in calls:
        fill_normal(rng, row)
    seeds = np.array([normals(seed, n) for seed in range(400)])
    for rows in (calls, seeds):
        for values in (rows, rows**2, np.roll(rows, 1, axis=1) * np.sign(rows)):
            r = np.corrcoef(values)[np.triu_indices(400, 1)]
            assert np.abs(r).max() * np.sqrt(n) < limit(r.size) + 0.5  # squares have heavy tails
            assert abs(np.sum(r**2) * n - r.size) < 6 * np.sqrt(2 * r.size)
        # the largest eigenvalue of the sample covariance of unrelated rows (Marchenko-Pastur)
        largest = np.linalg.eigvalsh(np.cov(rows))[-1]
        assert largest < (1 + np.sqrt(400 / n)) ** 2 * 1.03


def test_no_number_comes_twice():
    values = np.concatenate([normals(seed, 100_000) for seed in range(20)])
    assert len(np.unique(np.abs(values))) == values.size


# -- the bits beneath ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_bits_are_even_and_unrelated(seed):
    n = 1 << 18
    for words in words_of(seed, n):
        bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 64)
        z = (2 * bits.mean(axis=0) - 1) * np.sqrt(n)
        assert np.abs(z).max() < limit(64)
        # every bit with every bit of the same word, of the next and of the one 128 later; sums of
        # so many ones are exact in single precision
        centred = 2 * bits.astype(np.float32) - 1
        for lag in (0, 1, 128):
            r = centred[: n - lag].T @ centred[lag:] / np.sqrt(n - lag)
            r = r[np.triu_indices(64, 1)] if lag == 0 else r.ravel()
            assert np.abs(r).max() < limit(r.size)
        for shift in range(0, 64, 8):
            byte = (words >> np.uint64(shift)) & np.uint64(255)
            assert stats.chisquare(np.bincount(byte.astype(int), minlength=256)).pvalue > P
    first, second = words_of(seed, n)
    same = ones(first ^ second)
    assert abs(same.mean() - 32) < limit(1) * 4 / np.sqrt(n)


def test_one_bit_of_a_key_changes_half_of_all_bits():
    counter = np.arange(1000, dtype=np.uint64) * STEP
    key = keys_of(7)[0]
    plain = mix(key + counter)
    for bit in range(64):
        changed = ones(plain ^ mix((key ^ (np.uint64(1) << np.uint64(bit))) + counter))
        assert abs(changed.mean() - 32) < 6 * 4 / np.sqrt(1000)
