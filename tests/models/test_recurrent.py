from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from actorrl.models.recurrent import LSTMCore

torch.set_num_threads(1)
L, B, F, H = 12, 5, 7, 6


def core_and_inputs():
    torch.manual_seed(0)
    core = LSTMCore(F, H)
    return core, torch.randn(L, B, F), (torch.randn(B, H), torch.randn(B, H))


def torchs_own(core):
    """torch.nn.LSTM with the same weights; its gates are in the order i, f, g, o."""
    lstm = nn.LSTM(F, H)

    def reordered(x):
        i, f, o, g = x.chunk(4)
        return torch.cat([i, f, g, o])

    with torch.no_grad():
        lstm.weight_ih_l0.copy_(reordered(core.weight_input))
        lstm.weight_hh_l0.copy_(reordered(core.weight_hidden))
        lstm.bias_ih_l0.copy_(reordered(core.bias))
        lstm.bias_hh_l0.zero_()
    return lstm


def test_without_resets_it_is_torchs_lstm():
    core, x, (h, c) = core_and_inputs()
    outputs, (h1, c1) = core(x, (h, c))
    expected, (h2, c2) = torchs_own(core)(x, (h[None], c[None]))
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(h1, h2[0])
    torch.testing.assert_close(c1, c2[0])


def test_a_reset_starts_a_new_sequence_from_zeros():
    core, x, state = core_and_inputs()
    resets = torch.zeros(L, B, dtype=torch.bool)
    resets[4, 1] = resets[0, 2] = resets[7, 2] = resets[8, 2] = resets[11, 3] = True
    outputs, (h, c) = core(x, state, resets)
    for b in range(B):
        cuts = [0, *resets[:, b].nonzero().flatten().tolist(), L]
        for start, end in pairwise(cuts):
            if start == end:
                continue
            before = tuple(part[b : b + 1] for part in state)
            if resets[start, b]:
                before = core.initial_state(1)
            expected, after = core(x[start:end, b : b + 1], before)
            torch.testing.assert_close(outputs[start:end, b], expected[:, 0])
        torch.testing.assert_close(h[b], after[0][0])
        torch.testing.assert_close(c[b], after[1][0])


def test_no_gradient_crosses_a_reset():
    core, x, state = core_and_inputs()
    x.requires_grad_(True)
    state = tuple(part.requires_grad_(True) for part in state)
    resets = torch.zeros(L, B, dtype=torch.bool)
    resets[5] = True
    outputs, _ = core(x, state, resets)
    outputs[5:].square().sum().backward()
    assert (x.grad[:5] == 0).all() and (x.grad[5:] != 0).any()
    assert all((part.grad == 0).all() for part in state)


def test_row_by_row_gives_the_same_numbers():
    core, x, state = core_and_inputs()
    outputs, _ = core(x, state)
    for t in range(L):
        one, state = core(x[t : t + 1], state)
        torch.testing.assert_close(one[0], outputs[t], atol=1e-6, rtol=1e-6)


def test_forget_gates_start_open():
    core = LSTMCore(F, H)
    assert core.bias[H : 2 * H].eq(1).all() and core.bias.sum() == H


def test_gradients_stop_after_max_seq_len_rows_and_outputs_stay_the_same():
    whole, cut = LSTMCore(F, H), LSTMCore(F, H, max_seq_len=3)
    cut.load_state_dict(whole.state_dict())
    x = torch.randn(7, 2, F, requires_grad=True)
    outputs, _ = cut(x, cut.initial_state(2))
    torch.testing.assert_close(outputs, whole(x, whole.initial_state(2))[0])
    (gradient,) = torch.autograd.grad(outputs[5].sum(), x)  # rows 3 to 5 are one piece
    assert (gradient[:3] == 0).all() and (gradient[3:6] != 0).any() and (gradient[6:] == 0).all()
