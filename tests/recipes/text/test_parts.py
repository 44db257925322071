"""A step that is computed in parts is the same step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from modelpad.recipes.text.parts import Parts
from modelpad.training.device import Device

CPU = Device("cpu", torch.float32)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    return Parts(CPU)


@pytest.mark.parametrize(
    ("texts", "sizes"), [(1, [1]), (15, [15]), (16, [8, 8]), (25, [8, 8, 9]), (64, [21, 21, 22])]
)
def test_parts_are_equal_and_not_too_small(parts: Parts, texts: int, sizes: list[int]) -> None:
    divided = parts.divide(texts)
    assert [each.stop - each.start for each in divided] == sizes
    assert divided[0].start == 0
    assert divided[-1].stop == texts


def test_gradients_of_parts_are_those_of_the_whole_batch(parts: Parts) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
    net[0].bias.requires_grad_(False)
    unused = nn.Parameter(torch.ones(1))
    rows = torch.randn(25, 4)

    def measure(part: slice, _: torch.Generator) -> tuple[Tensor, int]:
        return net(rows[part]).square().mean(), part.start

    weights = [*net.parameters(), unused]
    loss, starts = parts.compute_gradients(weights, len(rows), 0, measure)
    whole = net(rows).square().mean()
    assert starts == [0, 8, 16]
    assert torch.allclose(loss, whole)
    trained = [each for each in net.parameters() if each.requires_grad]
    for parameter, expected in zip(trained, torch.autograd.grad(whole, trained), strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, expected, atol=1e-6)
    assert net[0].bias.grad is None
    assert unused.grad is None


def test_random_numbers_of_a_part_do_not_depend_on_the_others() -> None:
    drawn = [torch.rand(3, generator=CPU.seed(seed)) for seed in (1, 2, 1)]
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_an_error_in_a_part_is_raised(parts: Parts) -> None:
    weight = nn.Parameter(torch.ones(1))

    def fail(part: slice, _: torch.Generator) -> tuple[Tensor, None]:
        if part.start:
            raise ValueError("a broken part")
        return weight.sum(), None

    with pytest.raises(ValueError, match="a broken part"):
        parts.compute_gradients([weight], 16, 0, fail)
