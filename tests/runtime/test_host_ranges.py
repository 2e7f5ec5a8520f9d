"""Ranges and addresses as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorrl.errors import ConfigError
from actorrl.runtime.host_ranges import Address, expand, parse_address


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gpu1.lab", ["gpu1.lab"]),
        ("cpu[01-03].lab", ["cpu01.lab", "cpu02.lab", "cpu03.lab"]),
        ("cpu[8-11]", ["cpu8", "cpu9", "cpu10", "cpu11"]),
        ("cpu[08-11]", ["cpu08", "cpu09", "cpu10", "cpu11"]),
        ("a[1,3-5]", ["a1", "a3", "a4", "a5"]),
        ("r[1-2]n[1-2]:22", ["r1n1:22", "r1n2:22", "r2n1:22", "r2n2:22"]),
        ("[::1]:2222", ["[::1]:2222"]),
    ],
)
def test_a_range_stands_for_all_its_names_in_order(text, names):
    assert expand(text) == names


@given(st.integers(0, 999), st.integers(0, 50), st.integers(1, 6))
def test_a_range_keeps_the_width_of_its_first_number(first, more, width):
    written = str(first).zfill(width)
    last = str(first + more).zfill(len(written))
    names = expand(f"h[{written}-{last}]")
    pad = len(written) if written.startswith("0") else 0
    assert names == [f"h{str(number).zfill(pad)}" for number in range(first, first + more + 1)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cpu[8-1]", "backwards"),
        ("cpu[a-c]", "no range"),
        ("cpu[]", "no range"),
        ("cpu[1,]", "no range"),
        ("cpu[1-", "not closed"),
        ("cpu1-3]", "not closed"),
        ("cpu[008-10]", "expected 008-010"),
        ("cpu[1-9999]", "at most 1024"),
        ("a[1-100]b[1-100]", "at most 1024"),
    ],
)
def test_a_wrong_range_says_what_is_wrong(text, problem):
    with pytest.raises(ConfigError, match=problem):
        expand(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("gpu1.lab", Address("gpu1.lab")),
        ("gpu1.lab:2222", Address("gpu1.lab", 2222)),
        ("alice@10.0.0.1", Address("10.0.0.1", None, "alice")),
        ("alice@gpu_1:22", Address("gpu_1", 22, "alice")),
        ("[fe80::1]:2222", Address("fe80::1", 2222)),
        ("::1", Address("::1")),
    ],
)
def test_an_address_has_a_host_and_may_have_a_port_and_a_user(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "a:ssh", "a:0", "a:70000", "a:", "a b", "-oProxyCommand=x", "@a", "a;b", "$(a)", "a/b"],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ConfigError):
        parse_address(text)
