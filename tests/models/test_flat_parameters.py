from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from actorrl.models.flat_parameters import FlatParameters
from actorrl.models.networks import MLP, ImageShape, nature_cnn

torch.set_num_threads(1)


def test_the_modules_parameters_are_the_vector():
    mlp = MLP(3, [4, 2])
    before = torch.cat([p.detach().flatten() for p in mlp.parameters()])
    flat = FlatParameters(mlp)
    assert torch.equal(flat.vector.detach(), before)
    flat.load(np.arange(len(before), dtype=np.float32))
    assert mlp.layers[0].weight.flatten().tolist() == list(range(12))
    mlp.layers[1].bias.data.fill_(-1)
    assert flat.numpy()[-2:].tolist() == [-1, -1]


@pytest.mark.parametrize("channels_last", [True, False])
def test_backward_writes_into_the_flat_gradient(channels_last):
    network = nature_cnn(ImageShape(2, 40, 40, "chw"), channels_last)
    flat = FlatParameters(network)
    x = torch.randint(0, 256, (4, 2, 40, 40), dtype=torch.uint8)
    network(x).square().sum().backward()
    grads = torch.autograd.grad(network(x).square().sum(), list(network.parameters()))
    expected = torch.cat([g.flatten() for g in grads])
    scale = expected.abs().max()
    torch.testing.assert_close(flat.gradient / scale, expected / scale, atol=1e-5, rtol=1e-4)
    flat.zero_gradient()
    assert all((p.grad == 0).all() for p in network.parameters())


def test_an_optimizer_over_the_vector_is_one_over_the_parameters():
    torch.manual_seed(0)
    one, other = MLP(3, [8, 2]), MLP(3, [8, 2])
    other.load_state_dict(one.state_dict())
    flat = FlatParameters(one)
    over_vector = torch.optim.Adam([flat.vector], lr=0.01)
    over_parameters = torch.optim.Adam(other.parameters(), lr=0.01)
    for step in range(5):
        x = torch.randn(16, 3)
        flat.zero_gradient()
        one(x).square().mean().backward()
        norm = flat.clip_gradient(0.05)
        over_vector.step()
        over_parameters.zero_grad()
        other(x).square().mean().backward()
        expected_norm = nn.utils.clip_grad_norm_(other.parameters(), 0.05)
        over_parameters.step()
        assert norm.item() == pytest.approx(expected_norm.item(), rel=1e-5), step
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_clipping_leaves_small_gradients_and_none_means_never():
    flat = FlatParameters(MLP(1, [1]))
    flat.set_gradient(np.array([3.0, 4.0], np.float32))
    assert flat.clip_gradient(10.0).item() == 5.0
    assert flat.gradient_numpy().tolist() == [3.0, 4.0]
    assert flat.clip_gradient(None).item() == 5.0
    flat.clip_gradient(1.0)
    np.testing.assert_allclose(flat.gradient_numpy(), [0.6, 0.8], rtol=1e-5)


def test_the_other_ways_to_clip_are_torchs() -> None:
    for by, theirs in (("value", nn.utils.clip_grad_value_), ("norm", nn.utils.clip_grad_norm_)):
        torch.manual_seed(0)
        one, other = MLP(3, [8, 2]), MLP(3, [8, 2])
        flat = FlatParameters(one)
        flat.set_gradient(np.random.default_rng(0).normal(size=flat.vector.numel()))
        for mine, parameter in zip(one.parameters(), other.parameters(), strict=True):
            assert mine.grad is not None
            parameter.grad = mine.grad.clone()
            theirs([parameter], 0.5)  # each alone
        whole = float(np.linalg.norm(flat.gradient_numpy()))
        assert flat.clip_gradient(0.5, by=by).item() == pytest.approx(whole, rel=1e-5)
        for mine, parameter in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, parameter.grad)


def test_named_weights_survive_the_way_there_and_back():
    one, other = FlatParameters(MLP(3, [4, 2])), FlatParameters(MLP(3, [4, 2]))
    named = one.named_numpy()
    assert {n: x.shape for n, x in named.items()} == dict(one.layout)
    other.load_named(named)
    np.testing.assert_array_equal(one.numpy(), other.numpy())
    named["layers.0.weight"][:] = 7.0  # copies: the network does not follow
    assert not (one.numpy() == 7.0).any()


def test_weights_that_do_not_fit_are_refused_by_name():
    flat = FlatParameters(MLP(3, [4]))
    named = flat.named_numpy()
    with pytest.raises(ValueError, match=r"layers\.0\.bias"):
        flat.load_named({"layers.0.weight": named["layers.0.weight"], "extra": named})
    with pytest.raises(ValueError, match=r"expected \(4, 3\)"):
        flat.load_named({**named, "layers.0.weight": np.zeros((3, 4), np.float32)})
    with pytest.raises(ValueError, match=r"expected \(16,\)"):
        flat.load(np.zeros(15, np.float32))


def test_read_only_memory_can_be_loaded_and_copies_are_the_callers():
    flat = FlatParameters(MLP(3, [4]))
    values = np.arange(16, dtype=np.float32)
    values.flags.writeable = False
    flat.load(values)
    flat.set_gradient(values)
    copy = flat.numpy()
    copy[:] = 0
    np.testing.assert_array_equal(flat.numpy(), values)
    np.testing.assert_array_equal(flat.gradient_numpy(), values)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_moving_keeps_weights_views_and_optimizer_target():
    mlp = MLP(3, [4])
    flat = FlatParameters(mlp)
    optimizer = torch.optim.SGD([flat.vector], lr=1.0)
    before = flat.numpy()
    flat.move("cuda")
    mlp(torch.ones(2, 3, device="cuda")).sum().backward()
    gradient = flat.gradient_numpy()
    optimizer.step()
    flat.move("cpu")
    np.testing.assert_allclose(flat.numpy(), before - gradient, atol=1e-6)
    assert mlp.layers[0].weight.data_ptr() == flat.vector.data_ptr()
