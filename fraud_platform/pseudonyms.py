"""Names that stand for customers, cards, devices and addresses wherever a person may read them: logs and the audit.

With `FRAUD_PSEUDONYM_KEY` a value always gets the same pseudonym, so that lines about one customer can be
put together, and only who has the key can find the pseudonym of a given customer. A hash without a key
would not do: there are few enough customer ids and addresses to hash them all.
"""

import hmac

from pydantic import SecretStr

from fraud_platform.errors import SettingsError

PERSONAL = frozenset({"transaction_id", "customer_id", "card_id", "device_id", "ip_address"})
"""Columns whose values never go into a log or the audit as they are. A decision_id may: it is a digest."""

KEY_CHARACTERS = 16
HEX_CHARACTERS = 16
"""64 bits: two of a million customers share a pseudonym with a chance of 1 in 40 million."""


class Pseudonyms:
    """Gives each value its pseudonym.

    Args:
        key: the secret of `settings.pseudonym_key`. Without one nothing stays linkable: a value is cut to
            its first two characters.

    Raises:
        SettingsError: for a key that is short enough to be guessed.
    """

    def __init__(self, key: SecretStr | None = None) -> None:
        self._key = None if key is None else key.get_secret_value().encode()
        if self._key is not None and len(self._key) < KEY_CHARACTERS:
            raise SettingsError(
                f"FRAUD_PSEUDONYM_KEY has {len(self._key)} characters, which can be guessed. "
                "Set it to the output of `openssl rand -hex 32`."
            )

    def of(self, value: str) -> str:
        """16 hexadecimal digits; without a key the first two characters and `…`, or `…` alone for a short value."""
        if self._key is None:
            return f"{value[:2]}…" if len(value) >= 5 else "…"
        return hmac.digest(self._key, value.encode("utf-8", "surrogatepass"), "sha256").hex()[:HEX_CHARACTERS]
