"""Reading the state of one payment's keys, computing the whole catalog, and committing: no model, no HTTP.

    python benchmarks/online.py [--store lmdb|redis] [--days 60] [--events 20000]

The store is rebuilt from simulated history with every column of the contract, and then takes the days after it, one
payment after the other. `redis` starts a server of its own on a socket of this machine. Prints one JSON line:
{"store", "features", "keys_per_event", "read_commit_p50_us", "read_commit_p99_us", "events_per_s",
"state_bytes_per_key", "merchant_of_1k_us", "merchant_of_10m_us"}. The last two are medians at a merchant that had
1,000 and 10 million payments in the 30 days before, each payment of a new customer.
"""

import argparse
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl

    from fraud_platform.features.online import OnlineFeatures
    from fraud_platform.features.selection import Catalog
    from fraud_platform.features.stores import Store
    from fraud_platform.transactions.sources import Source

ROOT = Path(__file__).resolve().parents[1]
ENTRY = b"x" * 900
"""As long as the decision and the event that the scorer commits."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["lmdb", "redis"], default="lmdb")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--events", type=int, default=20_000)
    arguments = parser.parse_args()
    from fraud_platform.features.selection import catalog_of
    from fraud_platform.transactions.sources import load_source

    source = load_source(ROOT / "sources" / "simulator.yaml", None)
    catalog = catalog_of(source)
    events = simulated(source, arguments.days)
    with store_of(arguments.store, catalog) as store:
        print(json.dumps({"store": arguments.store, **measure(store, catalog, events, arguments.events)}))


def simulated(source: "Source", days: int) -> "pl.DataFrame":
    """Events of the first days, as drivers take them; nobody has reported a fraud yet."""
    import polars as pl

    from fraud_platform.transactions.simulator import SimulatorConfig, simulate

    config = SimulatorConfig.model_validate(source.simulator)
    events = simulate(config, config.first_day, config.first_day + timedelta(days=days - 1))
    return events.with_columns(event_us=pl.col("event_time").dt.epoch("us"), known_fraud=pl.lit(0, pl.Int64))


def measure(store: "Store", catalog: "Catalog", events: "pl.DataFrame", count: int) -> dict[str, object]:
    from fraud_platform.features.online import OnlineFeatures, states_of

    history, live = events.head(events.height - count), events.tail(count).to_dicts()
    with store.rebuild() as new:
        sizes = []

        def sized() -> Iterator[tuple[bytes, int, bytes]]:
            for key, latest, state in states_of(history, catalog):
                sizes.append(len(state))
                yield key, latest, state

        new.put(sized())
        assert new.publish(catalog.fingerprint, 0)
    online = OnlineFeatures(catalog)
    seconds = [_step(online, store, event, number) for number, event in enumerate(live)]
    keys_seen = sum(len(online.keys(event)) for event in live)
    warm = np.array(seconds[len(seconds) // 10 :]) * 1e6
    merchant_of_1k, merchant_of_10m = hot_merchants(store, catalog, live[-1], (1000, 10_000_000))
    return {
        "features": len(catalog.features),
        "keys_per_event": round(keys_seen / count, 1),
        "read_commit_p50_us": round(float(np.percentile(warm, 50)), 1),
        "read_commit_p99_us": round(float(np.percentile(warm, 99)), 1),
        "events_per_s": round(1e6 / float(warm.mean())),
        "state_bytes_per_key": round(float(np.mean(sizes))),
        "merchant_of_1k_us": merchant_of_1k,
        "merchant_of_10m_us": merchant_of_10m,
    }


def hot_merchants(
    store: "Store", catalog: "Catalog", event: dict[str, Any], histories: tuple[int, ...]
) -> tuple[float, ...]:
    """The medians of read, features and commit, in µs, at merchants that had so many payments in 30 days.

    They are paid in turn, so that what the machine does meanwhile meets them all.
    """
    from fraud_platform.features.online import OnlineFeatures

    online, now = OnlineFeatures(catalog), event["event_us"]
    for payments in histories:
        _put_merchant(store, online, now, payments)
    seconds: list[list[float]] = [[] for _ in histories]
    for number in range(3000):
        for measured, payments in zip(seconds, histories, strict=True):
            someone = {name: f"{name} {payments} {number}" for name in ("customer_id", "card_id", "device_id")}
            payment = event | {"merchant_id": _merchant(payments), "event_us": now + number} | someone
            measured.append(_step(online, store, payment, number))
    return tuple(round(float(np.median(measured[500:])) * 1e6, 1) for measured in seconds)


def _put_merchant(store: "Store", online: "OnlineFeatures", now: int, payments: int) -> None:
    from fraud_platform.features.expressions import DAY
    from fraud_platform.features.online import timeline_of
    from fraud_platform.features.stores import Change, NewEntry

    times = now - 30 * DAY + np.arange(payments, dtype=np.int64) * (30 * DAY // payments)
    inputs = np.ones((payments, len(online.catalog.inputs)), np.int64)
    timeline = timeline_of(online.catalog, ("merchant_id",))
    ((state,), _) = timeline.states_of(np.arange(payments), np.array([0, payments]), 0, 1, times, inputs, 1)
    key = online.keys({"merchant_id": _merchant(payments)})[("merchant_id",)]
    assert store.commit(store.read([], [key]), Change({}, {key: state}, now, (NewEntry(b""),))) is not None


def _merchant(payments: int) -> str:
    return f"merchant of {payments}"


def _step(online: "OnlineFeatures", store: "Store", event: dict[str, Any], number: int) -> float:
    """The seconds that one payment takes, its entry filed under its customer."""
    from fraud_platform.features.stores import Change, NewEntry

    record = number.to_bytes(16, "big")
    started = time.perf_counter()
    keys = online.keys(event)
    snapshot = store.read([record], list(keys.values()))
    features = online.compute(event, keys, snapshot.states)
    entry = NewEntry(ENTRY, (keys[("customer_id",)],))
    sequence = store.commit(snapshot, Change({record: ENTRY}, features.states, features.latest_us, (entry,)))
    seconds = time.perf_counter() - started
    assert sequence is not None
    return seconds


@contextmanager
def store_of(kind: str, catalog: "Catalog") -> "Iterator[Store]":
    """An empty store in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="online-benchmark-") as folder:
        if kind == "lmdb":
            from fraud_platform.features.stores.lmdb import LmdbStore

            store = LmdbStore(Path(folder))
            yield store
            store.close()
            return
        from fraud_platform.features.stores.redis import RedisStore

        with redis_server(Path(folder)) as url:
            store = RedisStore(url, "benchmark", catalog.look_back_us)
            yield store
            store.close()


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis server of its own, on loopback, as an operator would run it: append-only file, fsync every second."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        raise SystemExit("There is no redis-server or valkey-server: install one (Debian: redis-server).")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes", "--save", ""]
    server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    try:
        _wait_until(lambda: _answers(port))
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
    except OSError:
        return False


def _wait_until(ready: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"The Redis server did not answer within {seconds} s.")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
