"""The rules and lists that were in force last, for a worker that starts while the files are broken.

A worker that runs keeps what it has in memory; one that was killed has nothing but these copies.
"""

import os
import shutil
import tempfile
from pathlib import Path

from fraud_platform.decisions.ruleset import RuleSet
from fraud_platform.errors import RulesError, WarehouseError
from fraud_platform.features.selection import Catalog
from fraud_platform.settings import Settings

RULES, LISTS = "rules.yaml", "lists.yaml"


def rules_at_start(settings: Settings, catalog: Catalog) -> tuple[RuleSet, str | None]:
    """The rules and lists to start with, and why they are not those of the files.

    Raises:
        RulesError: if the files are broken, and nothing was ever in force.
        WarehouseError: if the copies cannot be written.
    """
    kept = settings.rules_in_force
    try:
        rules = RuleSet.of_settings(settings, catalog)
    except RulesError as error:
        if not kept.is_dir():
            raise
        return RuleSet.load(kept / RULES, kept / LISTS, catalog, rules_required=False), str(error)
    keep(settings, catalog, rules)
    return rules, None


def keep(settings: Settings, catalog: Catalog, rules: RuleSet) -> None:
    """Copy the files that these rules were read from; not if they have changed since.

    Raises:
        WarehouseError: if the disk is full, or may not be written.
    """
    kept = settings.rules_in_force
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".copy-", dir=kept) as aside:
            copies = {RULES: settings.rules, LISTS: settings.lists}
            for name, file in copies.items():
                if file.exists():
                    shutil.copyfile(file, Path(aside) / name)
            try:
                copied = RuleSet.load(Path(aside) / RULES, Path(aside) / LISTS, catalog, rules_required=False)
            except RulesError:
                return  # broken since they were read: the copies of before stay
            if copied.digest != rules.digest:
                return
            for name in copies:
                if (Path(aside) / name).exists():
                    os.replace(Path(aside) / name, kept / name)
                else:
                    (kept / name).unlink(missing_ok=True)
    except OSError as error:
        raise WarehouseError(f"{kept} cannot be written: {error}. Make room, or correct the permissions.") from error
