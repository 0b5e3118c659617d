"""Which online store the settings ask for."""

from fraud_platform.errors import StoreError
from fraud_platform.features.stores import Store
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.settings import Settings


def open_store(settings: Settings, lifetime_us: int) -> Store:
    """The store of the settings' source, made where there is none.

    Args:
        lifetime_us: how long after its last event a state may still be read, microseconds.

    Raises:
        StoreError: if it cannot be opened or reached.
    """
    if settings.online_store_url is None:
        return LmdbStore(settings.online_store, durable=settings.online_store_durable)
    from fraud_platform.features.stores.redis import RedisStore

    return RedisStore(settings.online_store_url, settings.home.name, lifetime_us)


def open_built_store(settings: Settings, lifetime_us: int) -> Store:
    """The store of the settings' source.

    Raises:
        StoreError: if it was never built: every customer would look new.
    """
    fix = "Materialize `online_state`, or correct FRAUD_WAREHOUSE, FRAUD_SOURCE and FRAUD_ONLINE_STORE_URL."
    if settings.online_store_url is None and not settings.online_store.is_dir():
        raise StoreError(f"There is no online store in {settings.online_store}. {fix}")
    store = open_store(settings, lifetime_us)
    if store.fingerprint() is None:
        store.close()
        raise StoreError(f"The online store {settings.online_store_address} was never built. {fix}")
    return store
