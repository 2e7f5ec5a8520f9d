from __future__ import annotations

import pytest
import torch
from torch import nn

from actorrl.models import networks
from actorrl.models.networks import MLP, ConvNet, ImageShape, ImpalaResNet, nature_cnn

torch.set_num_threads(1)
ATARI = ImageShape(4, 84, 84, "chw")


def images(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def test_mlp_is_its_layers_and_activations():
    mlp = MLP(6, [8, 5], "relu")
    x = torch.randn(3, 2, 3)
    first, second = mlp.layers
    expected = second(first(x.reshape(3, 6)).relu()).relu()
    torch.testing.assert_close(mlp(x), expected)
    assert mlp.output_size == 5 and MLP(6, []).output_size == 6


def test_nature_network_has_the_papers_layers():
    network = nature_cnn(ATARI)
    shapes = [tuple(p.shape) for p in network.parameters() if p.dim() > 1]
    assert shapes == [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136)]
    assert network(images(2, 4, 84, 84)).shape == (2, 512)


def test_impala_network_has_fifteen_convolutions_and_256_features():
    network = ImpalaResNet(ATARI)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [16] * 5 + [32] * 10
    assert network.head.layers[0].in_features == 32 * 11 * 11
    assert network(images(2, 4, 84, 84)).shape == (2, 256)


@pytest.mark.parametrize("make", [nature_cnn, ImpalaResNet])
def test_bytes_are_scaled_to_one_inside(make):
    network = make(ATARI)
    x = images(3, 4, 84, 84)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), network(x.float() / 255), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [nature_cnn, ImpalaResNet])
def test_training_layout_changes_neither_numbers_nor_gradients(make):
    network = make(ATARI)
    x = images(3, 4, 84, 84)
    plain = network.requires_grad_(True)
    results = []
    for channels_last in (True, False):
        for module in plain.modules():
            if hasattr(module, "channels_last"):
                module.channels_last = channels_last
        network.zero_grad()
        features = network(x)
        features.square().sum().backward()
        results.append((features.detach(), [p.grad.clone() for p in network.parameters()]))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-5, rtol=1e-5)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), results[0][0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [nature_cnn, ImpalaResNet])
def test_a_batch_in_pieces_gives_the_same_features_and_gradients(make, monkeypatch):
    network = make(ATARI)
    x = images(7, 4, 84, 84)
    results = []
    for stacks_of_a_piece in (3, 7):
        monkeypatch.setattr(networks, "_PIECE_BYTES", stacks_of_a_piece * x[0].numel())
        network.zero_grad()
        features = network(x)
        features.square().sum().backward()
        results.append((features.detach(), [p.grad.clone() for p in network.parameters()]))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-5, rtol=1e-5)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_channels_may_come_last_or_not_at_all():
    x = images(2, 40, 44, 3)
    last = nature_cnn(ImageShape(3, 40, 44, "hwc"))
    first = nature_cnn(ImageShape(3, 40, 44, "chw"))
    first.load_state_dict(last.state_dict())
    torch.testing.assert_close(last(x), first(x.permute(0, 3, 1, 2)))
    single = nature_cnn(ImageShape(1, 40, 44, "hw"))
    assert single(x[..., 0]).shape == (2, 512)


def test_filters_too_large_for_the_image_are_refused():
    with pytest.raises(ValueError, match="30x30"):
        ConvNet(ImageShape(1, 30, 30, "chw"), [(32, 8, 4), (64, 4, 2), (64, 3, 1)])
