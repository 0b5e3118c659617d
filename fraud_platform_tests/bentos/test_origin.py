"""What is this machine, and what is another."""

import pytest

from bentos.fraud_scoring.origin import is_loopback, network
from fraud_platform_tests.bentos.requesting import request


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.255.254", "::1", "localhost", "::ffff:127.0.0.1", "::1%lo"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "",
        "10.0.0.1",
        "169.254.1.1",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "example.org",
        "127.1",
        "0",
        "*",
    ],
)
def test_no_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_the_network_of_a_client(client: str, expected: str) -> None:
    assert network(request(client=client)) == expected
