"""The store for several machines: Redis or Valkey, one round trip to read and one to commit.

What survives depends on the server's settings. With `appendonly yes` and `appendfsync always` an answered
commit survives a power cut; with `everysec` the last second may be lost, answered or not, and with neither
everything is. A failover loses what the replica had not received; the sequences of lost entries are used
again then. `maxmemory-policy` has to be `noeviction`: anything else throws away records to make room.

What it holds is bounded, but for the records: states go by themselves when they were not written for their
lifetime; entries of the outbox and what they are filed under go when they are acknowledged, so somebody has to
drain it; the queue has one member for each record that waits.
"""

from fraud_platform.features.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
