"""The networks of the recipes for text: their recurrence, their loss, and their graphs."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

from modelpad.bundle import SequenceModel
from modelpad.convert.sequences import GraphReader, Tokens
from modelpad.recipes.text import gated
from modelpad.recipes.text.gated import BlockWeights, apply_block
from modelpad.recipes.text.graph import (
    EMBEDDING,
    bound_mixed,
    export_classifier,
    export_language,
    reorder,
    restore,
)
from modelpad.recipes.text.graph_builder import (
    GraphBuilder,
    Precision,
    quantize_rows,
    read_weights,
)
from modelpad.recipes.text.network import (
    ArchitectureName,
    Classifier,
    LanguageModel,
    pool,
)
from modelpad.recipes.text.recurrence import (
    solve_backwards_chunked,
    solve_chunked,
    solve_stepwise,
)
from modelpad.recipes.text.softmax import Sampler, linear_cross_entropy, spread_chances
from modelpad.recipes.text.source import ClassifierSource, LanguageSource
from tests.small_networks import open_session, read_all, small

ARCHITECTURES: tuple[ArchitectureName, ...] = ("mingru", "lstm")
PRECISIONS: tuple[Precision, ...] = ("float32", "int8")
LARGEST = {"float32": 1e-4, "int8": 0.08}  # difference, relative to the largest output


@pytest.mark.parametrize("steps", [1, 2, 3, 16, 37])
def test_the_recurrence_in_chunks_equals_the_one_step_by_step(steps: int) -> None:
    torch.manual_seed(steps)
    decay, drive, initial = torch.rand(steps, 2, 3), torch.randn(steps, 2, 3), torch.randn(2, 3)
    states = torch.empty_like(drive)
    solve_stepwise(decay, drive, initial, states)
    assert torch.allclose(states, solve_chunked(decay, drive, initial), atol=1e-5)


def define_block(
    weights: BlockWeights,
    values: Tensor,
    hidden: Tensor,
    last: Tensor,
    keep: Tensor,
    mask: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """A block as it is defined, one step at a time."""
    result = []
    for now, kept in zip(values, keep, strict=True):
        normal = torch.nn.functional.layer_norm(now, now.shape[-1:], weights.norm)
        mixed = torch.lerp(normal, kept * last, weights.mix)
        new, forget, output = (mixed @ weights.gates.T + weights.bias).chunk(3, dim=-1)
        share = forget.sigmoid()
        hidden = kept * share * hidden + (1 - share) * new
        merged = (hidden * torch.nn.functional.silu(output)) @ weights.merge.T
        result.append(now + mask[0] * merged)
        last = normal
    return torch.stack(result), hidden, last


@pytest.mark.parametrize("at_once", [1, 4, 100])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("device", ["cpu", "accelerator"])
def test_a_block_and_its_gradients_are_those_of_its_definition(
    at_once: int, masked: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "accelerator":  # its way to compute works on a CPU too
        monkeypatch.setattr(gated, "solve_backwards", solve_backwards_chunked)
        monkeypatch.setattr(
            gated, "solve", lambda *inputs: inputs[-1].copy_(solve_chunked(*inputs[:-1]))
        )
    torch.manual_seed(0)
    steps, texts, width = 9, 3, 4
    monkeypatch.setattr(gated, "CACHED_ROWS", at_once * texts)
    rows = [torch.rand(width) + 0.5, torch.rand(width), torch.randn(3 * width)]
    norm, mix, bias = rows
    gates, merge = torch.randn(3 * width, width), torch.randn(width, width)
    weights = BlockWeights(norm, mix, gates, bias, merge)
    values, hidden, last = torch.randn(steps, texts, width), *torch.randn(2, texts, width)
    inputs = [values, hidden, last, norm, mix, gates, bias, merge]
    for each in inputs:
        each.requires_grad_()
    keep, mask = torch.ones(steps, texts, 1), torch.ones(1, texts, width)
    if masked:
        keep[4, 0] = keep[0, 1] = 0.0
        mask.bernoulli_(0.5)
    blank = (keep, mask) if masked else (None, None)
    found = apply_block(weights, values, hidden, last, *blank)
    expected = define_block(weights, values, hidden, last, keep, mask)
    directions = [torch.randn_like(each) for each in expected]
    pairs = [*zip(found, expected, strict=True)]
    pairs += zip(
        torch.autograd.grad(found, inputs, directions),
        torch.autograd.grad(expected, inputs, directions),
        strict=True,
    )
    for one, other in pairs:
        assert torch.allclose(one, other, atol=2e-5), (one - other).abs().max()


def test_the_fused_loss_and_its_gradients_are_those_of_cross_entropy() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(700, 8), torch.randn(50, 8)
    bias, targets = torch.randn(50), torch.randint(0, 50, (700,))
    inputs = [each.requires_grad_() for each in (hidden, weight, bias)]
    fused = linear_cross_entropy(hidden, weight, bias, targets)
    plain = torch.nn.functional.cross_entropy(hidden @ weight.T + bias, targets)
    assert torch.allclose(fused, plain, atol=1e-5)
    found, expected = (torch.autograd.grad(loss, inputs) for loss in (fused, plain))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_a_sampled_vocabulary_estimates_the_loss_without_bias() -> None:
    torch.manual_seed(0)
    hidden, weight, bias = 0.3 * torch.randn(40, 8), torch.randn(300, 8), torch.zeros(300)
    targets = torch.randint(0, 300, (40,))
    sampler = Sampler(torch.randint(0, 1000, (300,)), 150)
    losses = []
    for seed in range(200):
        drawn = sampler.draw(targets, torch.Generator().manual_seed(seed))
        assert drawn.tokens[drawn.places].equal(targets)
        rows = weight[drawn.tokens], bias[drawn.tokens]
        losses.append(linear_cross_entropy(hidden, *rows, drawn.places, drawn.correction).item())
    full = torch.nn.functional.cross_entropy(hidden @ weight.T, targets).item()
    assert abs(np.mean(losses) - full) < 0.02
    plain = [
        torch.nn.functional.cross_entropy(hidden @ weight[:150].T, targets % 150).item()
        for _ in range(1)
    ]
    assert abs(plain[0] - full) > 0.3  # what leaving out the correction would give


def test_chances_add_up_and_none_is_above_one() -> None:
    chances = spread_chances(torch.tensor([1000.0, 500.0, 1.0, 1.0, 1.0, 1.0]), 3)
    assert float(chances.sum()) == pytest.approx(3)
    assert chances[:2].tolist() == [1, 1]
    assert spread_chances(torch.ones(4), 9).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(("arch", "precision"), [*product(ARCHITECTURES, PRECISIONS)])
def test_the_graph_of_a_language_model_reads_pieces_as_the_network_reads_texts(
    arch: ArchitectureName, precision: Precision
) -> None:
    torch.manual_seed(0)
    source = LanguageSource(LanguageModel(small(arch)), "{}", precision)
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 90, 12), rng.integers(0, 90, 7)]
    sizes = [(5, 0), (0, 3), (1, 1), (6, 3)]
    places, pieces = np.zeros(2, np.int64), []
    for step in sizes:
        pieces.append(
            [text[at : at + size] for text, at, size in zip(texts, places, step, strict=True)]
        )
        places += step
    outputs = read_all(source, pieces)
    rows: list[list[Tokens]] = [[], []]
    for output, (first, _) in zip(outputs, sizes, strict=True):
        rows[0] += [*output[:first]]
        rows[1] += [*output[first:]]
    for text, found in zip(texts, rows, strict=True):
        expected = source.run(text)
        assert np.abs(np.stack(found) - expected).max() < LARGEST[precision] * expected.max()


@pytest.mark.parametrize(("arch", "precision"), [*product(ARCHITECTURES, PRECISIONS)])
def test_a_text_without_a_token_in_a_piece_keeps_its_state_exactly(
    arch: ArchitectureName, precision: Precision
) -> None:
    torch.manual_seed(0)
    classifier = ClassifierSource(Classifier(small(arch), 3), "{}", 1.5, precision)
    for source in (LanguageSource(LanguageModel(small(arch)), "{}", precision), classifier):
        session = open_session(source.export().SerializeToString())
        reader = GraphReader.start(session, source.sequence, 2)
        reader.read([np.array([3, 1, 4]), np.array([1, 5])])
        before = {name: value.copy() for name, value in reader.states.items()}
        reader.read([np.array([9, 2, 6, 5]), np.array([], np.int64)])
        for name, value in before.items():
            assert np.array_equal(value[1], reader.states[name][1]), name
            assert not np.array_equal(value[0], reader.states[name][0]), name


@pytest.mark.parametrize("arch", ARCHITECTURES)
@settings(max_examples=10, deadline=None)
@given(cuts=some.lists(some.integers(1, 19), max_size=4, unique=True))
def test_a_classifier_judges_a_text_in_pieces_as_in_one(
    arch: ArchitectureName, cuts: list[int]
) -> None:
    torch.manual_seed(0)
    source = ClassifierSource(Classifier(small(arch), 3), "{}", 1.5)
    text = np.random.default_rng(0).integers(0, 90, 20)
    ends = [0, *sorted(cuts), 20]
    pieces = [[text[start:end]] for start, end in pairwise(ends)]
    assert np.allclose(read_all(source, pieces)[-1][0], source.run(text), atol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_other_texts_in_the_batch_change_nothing(precision: Precision) -> None:
    torch.manual_seed(0)
    source = LanguageSource(LanguageModel(small("mingru")), "{}", precision)
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 90, 9) for _ in range(5)]
    together = np.split(read_all(source, [texts])[0], 5)
    for text, found in zip(texts, together, strict=True):
        alone = read_all(source, [[text]])[0]
        assert np.abs(alone - found).max() < 1e-5


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_weights_of_a_graph_can_be_read_back(arch: ArchitectureName) -> None:
    import onnx

    torch.manual_seed(0)
    net = LanguageModel(small(arch))
    graph = export_language(net, "float32").graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    weights = read_weights(constants)
    for name, value in net.state_dict().items():
        if "bias_" in name:  # both biases of an LSTM are stored as one
            continue
        found = restore(weights[name]) if "_l0" in name else weights[name]
        assert np.array_equal(found, value.numpy()), name


def test_weights_in_8_bits_are_close() -> None:
    weight = np.random.default_rng(0).normal(0, 1, (10, 128)).astype(np.float32)
    codes, scales = quantize_rows(weight)
    assert 255 * 2 * np.abs(codes.astype(int)).max() < 1 << 15  # sums that some processors clip
    for name, stored in (("w", (codes, scales)), ("w.T", (codes.T, scales[:, 0]))):
        found = read_weights({f"{name}.codes": stored[0], f"{name}.scales": stored[1]})["w"]
        assert np.abs(found - weight).max() <= scales.max() / 2 + 1e-6
    assert np.array_equal(restore(reorder(weight[:8])), weight[:8])


def test_rows_of_zeros_stay_zeros_in_8_bits() -> None:
    build = GraphBuilder("int8")
    value = build.input("value", "float32", "rows", 128)
    weight = np.random.default_rng(0).normal(0, 1, (64, 128)).astype(np.float32)
    build.output(build.linear(value, "weight", weight), "product", "float32", "rows", 64)
    rows = np.array([[0], [1], [-1e-30]], np.float32) * np.ones(128, np.float32)
    session = open_session(build.build().SerializeToString())
    product = session.run(["product"], {"value": rows})[0]
    codes, scales = quantize_rows(weight)
    assert np.allclose(product, rows @ (codes * scales).T, rtol=1e-3, atol=0)


def test_rows_in_8_bits_are_multiplied_as_they_are() -> None:
    build, random = GraphBuilder("int8"), np.random.default_rng(0)
    rows, weight = (random.normal(0, 1, size).astype(np.float32) for size in ((200, 96), (64, 96)))
    tokens = build.input("tokens", "int64", "count")
    product = build.embed_linear(tokens, "table", rows, 3.0, "weight", weight)
    build.output(product, "product", "float32", "count", 64)
    session = open_session(build.build().SerializeToString())
    chosen = np.array([5, 199, 0, 5])
    found = session.run(["product"], {"tokens": chosen})[0]
    (codes, scales), (turned, steps) = quantize_rows(rows), quantize_rows(weight)
    wanted = 3 * (codes * scales)[chosen] @ (turned * steps).T
    assert np.allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_parts_of_a_product_take_values_up_to_a_bound() -> None:
    build, random = GraphBuilder("int8"), np.random.default_rng(0)
    value = build.input("value", "float32", "rows", 128)
    weight, bias = (random.normal(0, 1, size).astype(np.float32) for size in ((96, 128), 96))
    for number, part in enumerate(build.linear_parts(3 * [value], "weight", weight, bias, 4.0)):
        build.output(part, f"part_{number}", "float32", "rows", 32)
    rows = random.uniform(-4, 4, (5, 128)).astype(np.float32)
    rows[-1] = 100.0  # cut off
    session = open_session(build.build().SerializeToString())
    found = np.concatenate(
        session.run([f"part_{number}" for number in range(3)], {"value": rows}), axis=1
    )
    codes, scales = quantize_rows(weight)
    wanted = np.rint(np.clip(rows, -4, 4) * 127 / 4) * 4 / 127 @ (codes * scales).T + bias
    assert np.allclose(found, wanted, rtol=1e-4, atol=1e-3)


def test_mixed_inputs_hardly_exceed_their_bound() -> None:
    random = np.random.default_rng(0)
    drawn = random.normal(0, 0.5, 256), random.uniform(-0.5, 1.5, 256)
    scale, mix = (each.astype(np.float32) for each in drawn)
    values = random.normal(0, 1, (1000, 256)) * scale
    mixed = (1 - mix) * values[1:] + mix * values[:-1]
    assert np.abs(mixed).max() < bound_mixed(scale, mix) < 3 * np.abs(mixed).max()


def test_the_sequence_describes_the_graph() -> None:
    for source in (
        LanguageSource(LanguageModel(small("mingru")), "{}"),
        ClassifierSource(Classifier(small("lstm"), 3), "{}"),
    ):
        graph = source.export().graph
        sequence = SequenceModel.from_dict(source.sequence.to_dict())
        assert {*sequence.input_names} == {each.name for each in graph.input}
        extra = [sequence.embedding] if sequence.embedding else []
        outputs = [each.name for each in graph.output]
        assert outputs == [*sequence.output_names[:1], *extra, *sequence.output_names[1:]]
        assert (sequence.embedding is None) == sequence.generates


def test_the_embedding_is_the_pooled_vector_at_unit_length() -> None:
    torch.manual_seed(0)
    net = Classifier(small("mingru"), 3).eval()
    source = ClassifierSource(net, "{}")
    text = np.random.default_rng(0).integers(0, 90, 20)
    reader = GraphReader.start(
        open_session(source.export().SerializeToString()), source.sequence, 1
    )
    reader.read([text[:7]])
    (found,) = reader.session.run([EMBEDDING], reader.feeds([text[7:]]))
    with torch.no_grad():
        hidden, _ = net.encoder(torch.from_numpy(text)[:, None], net.encoder.start(1))
        expected = torch.nn.functional.normalize(pool(hidden, torch.tensor([20])))
    assert np.allclose(found, expected.numpy(), atol=1e-5)


def test_a_larger_temperature_makes_scores_more_even() -> None:
    torch.manual_seed(0)
    net = Classifier(small("mingru"), 3)
    text = np.arange(9)
    spread = [
        float(np.ptp(read_all(ClassifierSource(net, "{}", each), [[text]])[0]))
        for each in (0.1, 1.0, 10.0)
    ]
    assert spread == sorted(spread, reverse=True)
    assert export_classifier(net).graph.output[0].name == "probabilities"
