"""Every expected value here comes from integers: Python's own, NumPy's int64, or fractions."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model.conftest import tiny_codec
from torch import nn

from ecc.model import exact
from ecc.model.exact import (
    FixedAttention,
    FixedTable,
    FixedTaps,
    check,
    fixed,
    round_weights,
    unrounded,
)
from ecc.model.fixed_point import ATTENTION_LIMIT, LIMIT, STEP, VALUE_LIMIT, WEIGHT_STEP
from ecc.runtime import layers

STEPS, WEIGHT_STEPS = round(1 / STEP), round(1 / WEIGHT_STEP)


def activations(*shape: int, seed: int = 0, limit: float = LIMIT) -> torch.Tensor:
    """Multiples of `STEP` over the whole range, most of them small, as float64."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-limit * STEPS, limit * STEPS, shape, endpoint=True)
    return torch.from_numpy(steps >> rng.integers(0, 24, shape)).double() * STEP


def layer(made: nn.Module, seed: int = 0) -> nn.Module:
    """The layer with random fixed-point weights, in float64 as it codes."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5)
    round_weights(made)
    check(made)
    return made.double().requires_grad_(False)


def state(made: nn.Module) -> layers.State:
    """What a model file would hold of the layer."""
    return layers.State({key: value.numpy() for key, value in made.state_dict().items()})


def integers(x: torch.Tensor, steps: int) -> np.ndarray:
    """x, multiples of 1 / steps, as int64."""
    scaled = np.asarray(x, np.float64) * steps
    assert np.array_equal(scaled, np.rint(scaled))
    return scaled.astype(np.int64)


def rounded(numerator: int, denominator: int, limit: float = LIMIT) -> int:
    """The quotient to the nearest integer, halves to even, within ±limit steps."""
    limit_steps = round(limit * STEPS)
    return max(-limit_steps, min(limit_steps, round(Fraction(numerator, denominator))))


def taps_in_integers(taps: FixedTaps, x: np.ndarray) -> np.ndarray:
    """[T, inputs] -> [T, outputs], both in steps."""
    weight = integers(taps.weight, WEIGHT_STEPS)
    bias = integers(taps.bias, WEIGHT_STEPS) * STEPS
    padded = np.pad(x, ((taps.taps // 2, taps.taps // 2), (0, 0)))
    seen = np.hstack([padded[i : i + len(x)] for i in range(taps.taps)])
    sums = [[sum(map(int, row * w)) + int(b) for w, b in zip(weight, bias)] for row in seen]  # noqa: B905
    return np.array([[rounded(value, WEIGHT_STEPS) for value in row] for row in sums])


def test_rounding_can_be_left_out():
    made = layer(FixedTaps(6, 5))
    x = activations(7, 6, limit=2.0**8)
    rounded = made(x[None])[0]
    with pytest.raises(RuntimeError, match="of shape"), unrounded():
        whole = made(x[None])[0]
        raise RuntimeError(f"of shape {whole.shape}")
    sums = integers(x, STEPS) @ integers(made.weight, WEIGHT_STEPS).T  # in whole numbers
    sums += integers(made.bias, WEIGHT_STEPS) * STEPS
    assert np.array_equal(whole.numpy(), sums / (STEPS * WEIGHT_STEPS))
    assert not torch.equal(whole, rounded)
    assert torch.equal(made(x[None])[0], rounded)


@pytest.mark.parametrize("taps", [1, 3])
def test_taps_are_integer_arithmetic(taps):
    made = layer(FixedTaps(6, 5, taps))
    made.weight *= 8
    x = activations(7, 6)
    expected = taps_in_integers(made, integers(x, STEPS))
    assert np.array_equal(integers(made(x[None])[0], STEPS), expected)
    assert np.array_equal(integers(layers.FixedTaps(state(made))(x.numpy()), STEPS), expected)
    assert (np.abs(expected) == LIMIT * STEPS).any()  # some sums are beyond the limit
    assert (np.abs(expected) < LIMIT * STEPS).any()


@given(st.lists(st.integers(-(2**34), 2**34), min_size=1, max_size=40))
def test_rounding_is_to_the_nearest_step_halves_to_even(values):
    # Multiples of an eighth of a step: ties are among them.
    x = torch.tensor(values, dtype=torch.float64) * STEP / 8
    expected = [rounded(value, 8) for value in values]
    assert integers(fixed(x), STEPS).tolist() == expected
    assert integers(layers.fixed(x.numpy()), STEPS).tolist() == expected


def test_rounding_leaves_what_is_rounded_and_respects_its_bounds():
    x = activations(100)
    assert torch.equal(fixed(x), x)
    assert torch.equal(fixed(fixed(x / 3)), fixed(x / 3))
    assert fixed(x, -1.0, 2.0).aminmax() == (-1.0, 2.0)
    infinite = torch.tensor([np.inf, -np.inf, 1e300], dtype=torch.float64)
    assert fixed(infinite).tolist() == [LIMIT, -LIMIT, LIMIT]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**31), threads=st.integers(1, 3))
def test_the_order_of_a_sum_does_not_count(seed, threads):
    made = layer(FixedTaps(96, 16, taps=3), seed)
    x = activations(1, 9, 96, seed=seed)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(seed))
    shuffled = layer(FixedTaps(96, 16, taps=3))
    columns = torch.cat([order + 96 * tap for tap in range(3)])
    shuffled.weight.copy_(made.weight[:, columns])
    shuffled.bias.copy_(made.bias)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert torch.equal(shuffled(x[..., order]), made(x))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("taps", [1, 3])
@pytest.mark.parametrize("frames", [1, 2, 5, 64, 1024])
def test_a_frame_is_the_same_in_any_batch_and_beside_any_neighbours(taps, frames):
    made = layer(FixedTaps(12, 7, taps))
    x = activations(3, frames, 12)
    together = made(x)
    for one, alone in zip(x, together, strict=True):
        assert torch.equal(made(one[None])[0], alone)
    by_frame = torch.cat(
        [made(x[:, max(0, t - 1) : t + 2])[:, min(t, 1)][:, None] for t in range(min(frames, 20))],
        dim=1,
    )
    assert torch.equal(by_frame, together[:, :20])


def attention_in_integers(made: FixedAttention, x: np.ndarray) -> np.ndarray:
    """[T, width] -> [T, width], both in steps; sums and quotients by fractions."""
    frames, width = x.shape
    size = width // made.heads
    qkv = taps_in_integers(made.qkv, x).reshape(frames, 3, made.heads, size)
    largest, value = round(ATTENTION_LIMIT * STEPS), round(VALUE_LIMIT * STEPS)
    q, k = qkv[:, 0].clip(0, largest), qkv[:, 1].clip(0, largest)
    v = qkv[:, 2].clip(-value, value)
    attended = np.zeros((frames, made.heads, size), np.int64)
    for h in range(made.heads):
        # In steps squared, then back in steps.
        state = [
            [rounded(int(k[:, h, i] @ v[:, h, j]), frames * STEPS) for j in range(size)]
            for i in range(size)
        ]
        key = [rounded(int(k[:, h, i].sum()), frames) for i in range(size)]
        for t in range(frames):
            weights = [int(w) for w in q[t, h]]
            normaliser = sum(w * k for w, k in zip(weights, key, strict=True)) + STEPS
            for j in range(size):
                total = sum(weights[i] * state[i][j] for i in range(size))
                attended[t, h, j] = rounded(total * STEPS, normaliser)
    out = x + taps_in_integers(made.out, attended.reshape(frames, width))
    return out.clip(-round(LIMIT * STEPS), round(LIMIT * STEPS))


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
@pytest.mark.parametrize("limit", [2.0, 300.0, LIMIT])
def test_attention_is_integer_arithmetic(frames, limit):
    made = layer(FixedAttention(8), seed=frames)
    x = activations(frames, 8, seed=frames, limit=limit)
    expected = attention_in_integers(made, integers(x, STEPS))
    assert np.array_equal(integers(made(x[None])[0], STEPS), expected)
    assert np.array_equal(integers(layers.FixedAttention(state(made))(x.numpy()), STEPS), expected)
    assert not np.array_equal(expected, integers(x, STEPS))


@settings(max_examples=20)
@given(frames=st.integers(1, 1024), seed=st.integers(0, 2**31))
def test_attention_does_not_see_the_order_of_frames_nor_the_batch(frames, seed):
    made = layer(FixedAttention(16), seed)
    x = activations(2, frames, 16, seed=seed, limit=64)
    out = made(x)
    order = torch.randperm(frames, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(made(x[:, order]), out[:, order])
    assert torch.equal(made(x[1:]), out[1:])
    assert torch.equal(fixed(out), out)


def test_attention_over_silence_is_finite():
    made = layer(FixedAttention(8))
    nothing = made(torch.zeros(1, 5, 8, dtype=torch.float64))
    assert torch.isfinite(nothing).all()
    made.qkv.bias.zero_()
    expected = fixed(made.out.bias).expand(1, 5, 8)
    assert torch.equal(made(torch.zeros(1, 5, 8, dtype=torch.float64)), expected)


def test_a_table_gives_fixed_points():
    made = layer(FixedTable(5, 8))
    out = made(torch.tensor([4, 0, 4]))
    assert out.shape == (3, 1, 8)
    expected = [
        [rounded(int(w), WEIGHT_STEPS // STEPS) for w in row] for row in made.weight / WEIGHT_STEP
    ]
    assert integers(out[:, 0], STEPS).tolist() == [expected[4], expected[0], expected[4]]
    assert not FixedTable(3, 4).weight.any()


@pytest.mark.parametrize("made", [FixedTaps(16, 8, 3), FixedAttention(16), FixedTable(4, 16)])
def test_training_differs_by_about_a_step(made):
    made = layer(made)
    if isinstance(made, FixedTable):
        x = torch.arange(4)
        precise, trained = made(x), made.float()(x)
    else:
        x = activations(2, 50, 16, limit=4)
        precise, trained = made(x), made.float()(x.float())
    assert trained.dtype == torch.float32
    difference = (precise - trained).abs()
    assert difference.max() > 0
    if isinstance(made, FixedAttention):
        # Steps add up through the quotient and the last matrix, most where keys are few.
        assert difference.mean() < 4 * STEP
    else:
        assert difference.max() < 0.51 * STEP


def test_gradients_pass_in_training():
    made = FixedAttention(16)
    made(torch.randn(2, 9, 16)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in made.parameters())


def test_rounded_weights_are_near_and_pass_the_check():
    made = nn.Sequential(FixedTaps(8, 8, 3), nn.ReLU(), nn.Linear(8, 8), FixedAttention(8))
    with pytest.raises(ValueError, match="not fixed-point"):
        check(made)
    before = [p.clone() for p in made.parameters()]
    round_weights(made)
    check(made)
    for old, new in zip(before, made.parameters(), strict=True):
        assert (old - new).abs().max() <= WEIGHT_STEP / 2
    assert torch.equal(made[2].weight, before[2])  # other layers keep what they learnt


@pytest.mark.parametrize("wrong", [WEIGHT_STEP / 2, 1 / 3, float("nan")])
@pytest.mark.parametrize("name", ["0.weight", "0.bias", "1.weight", "2.qkv.weight", "2.out.bias"])
def test_a_weight_off_the_grid_is_refused(name, wrong):
    made = nn.Sequential(FixedTaps(4, 4), FixedTable(2, 4), FixedAttention(4))
    round_weights(made)
    check(made)
    with torch.no_grad():
        made.get_parameter(name).view(-1)[-1] = wrong
    with pytest.raises(ValueError, match="not fixed-point"):
        check(made)


@pytest.mark.parametrize("weights", [[2048.0, 2048.0], [4096.0, 0.0], [float("inf"), 0.0]])
def test_weights_whose_sums_could_be_inexact_are_refused(weights):
    made = FixedTaps(2, 1)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([weights]))
        made.bias.zero_()
    for prove in (check, lambda made: layers.FixedTaps(state(made))):
        with pytest.raises(ValueError, match="too large"):
            prove(made)


def test_the_largest_weights_that_pass_are_exact():
    made = FixedTaps(2, 2).double().requires_grad_(False)
    largest = 2.0**12 - WEIGHT_STEP
    weights = [[largest, 0.0], [0.0, WEIGHT_STEP]]
    made.weight.copy_(torch.tensor(weights, dtype=torch.float64))
    made.bias.zero_()
    check(made)
    below = nn.functional.linear(  # without the rounding of the output
        torch.tensor([[2.0**17 - STEP, 2.0**17 - STEP]], dtype=torch.float64), made.weight
    )
    steps = STEPS * WEIGHT_STEPS
    inputs = 2**17 * STEPS - 1
    assert int(below[0, 0] * steps) == round(largest * WEIGHT_STEPS) * inputs
    assert int(below[0, 1] * steps) == inputs
    made.weight[0, 1] = WEIGHT_STEP
    with pytest.raises(ValueError, match="too large"):
        check(made)


def test_every_layer_between_z_hat_and_y_hat_is_fixed_point():
    codec = tiny_codec()
    plain = {
        name
        for name, module in codec.entropy.named_modules()
        if isinstance(module, nn.Linear | nn.Embedding) and module not in exact._layers(codec)
    }
    assert plain == {"h_a.0", "h_a.2", "z_gain"}  # which only the encoder computes
    check(codec)
