"""How often a key may ask, and how often an address may fail to show one."""

from pathlib import Path

from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.strategies import FixedWindowRateLimiter

from bentos.fraud_scoring.counters import SharedCounters

FAILURES_PER_MINUTE = 30
BATCH_DISCOUNT = 10
"""A transaction in a batch costs about a tenth of one that is sent by itself."""


class Rates:
    """Fixed windows: they begin with the first request and last a second, or a minute for failures.

    So a key may, around the border of two windows, ask twice as much within a second as it is allowed
    to; what the limit protects is the service's load, which bears that.

    Args:
        folder: where the workers share the counters.
        requests_per_second: of each key.
    """

    def __init__(self, folder: Path, requests_per_second: int) -> None:
        self.per_second = requests_per_second
        self._requests = _Limit(folder / "requests", RateLimitItemPerSecond(requests_per_second))
        self._said = _Limit(folder / "said", RateLimitItemPerMinute(1))
        self._failures = _Limit(folder / "failures", RateLimitItemPerMinute(FAILURES_PER_MINUTE))

    def first_refusal(self, name: str) -> bool:
        """Whether this refusal is the first in a minute of a key or network, and so is to be logged."""
        return self._said.spend(name, 1)

    def request(self, key_id: str, cost: int = 1) -> bool:
        """Count a request; whether it is within the limit."""
        return self._requests.spend(key_id, cost)

    def batch(self, key_id: str, transactions: int) -> bool:
        """Count what a batch costs beyond the request that it is; whether it is within the limit.

        It never costs more than a whole second: else a large batch could never be sent.
        """
        cost = min(-(-transactions // BATCH_DISCOUNT), self.per_second) - 1
        return cost < 1 or self._requests.spend(key_id, cost)

    def failure(self, network: str) -> bool:
        """Count a failure to show a key; whether it is within the limit."""
        return self._failures.spend(network, 1)


class _Limit:
    def __init__(self, file: Path, item: RateLimitItem) -> None:
        self._item = item
        self._limiter = FixedWindowRateLimiter(SharedCounters(file))

    def spend(self, name: str, cost: int) -> bool:
        return self._limiter.hit(self._item, name, cost=cost)
