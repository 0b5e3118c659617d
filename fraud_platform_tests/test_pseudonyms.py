"""What stands in the logs for a customer."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from fraud_platform.errors import SettingsError
from fraud_platform.pseudonyms import Pseudonyms

KEY = "0123456789abcdef0123456789abcdef"
KEYED = Pseudonyms(SecretStr(KEY))


def test_a_pseudonym_is_the_start_of_a_keyed_hash() -> None:
    expected = hmac.new(KEY.encode(), b"customer-17", hashlib.sha256).hexdigest()[:16]
    assert KEYED.of("customer-17") == expected


def test_another_key_gives_another_pseudonym() -> None:
    assert Pseudonyms(SecretStr(KEY[::-1])).of("ann") != KEYED.of("ann")


@given(st.text(), st.text())
def test_equal_values_and_only_those_share_a_pseudonym(one: str, other: str) -> None:
    assert (KEYED.of(one) == KEYED.of(other)) == (one == other)


@given(st.text(min_size=1))
def test_without_a_key_a_value_is_cut_short(value: str) -> None:
    shown = Pseudonyms().of(value)
    assert shown.endswith("…") and len(shown) <= 3
    assert value.startswith(shown[:-1]) and len(shown[:-1]) < len(value) / 2


def test_half_a_surrogate_pair_has_a_pseudonym() -> None:
    assert len(KEYED.of("\ud800")) == 16


def test_a_key_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(SettingsError, match="openssl rand"):
        Pseudonyms(SecretStr("fraud"))
