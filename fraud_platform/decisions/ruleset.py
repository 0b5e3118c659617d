"""The rules and lists that are in force, and what they say of a payment.

An object never changes: a changed file is a new object.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud_platform.decisions.lists import Lists, parse_lists
from fraud_platform.decisions.policy import Match, Matches
from fraud_platform.decisions.rule_files import FileContent, read_file, signature_of
from fraud_platform.decisions.rule_names import Reader, names_of
from fraud_platform.decisions.rules import Inactive, Rule, parse_rules
from fraud_platform.errors import RulesError
from fraud_platform.features.selection import Catalog
from fraud_platform.settings import Settings

DIGEST_LENGTH = 16


class RuleSet:
    """Rules and lists of one source.

    Attributes:
        rules: those that payments of the source can match, live and in shadow, in the file's order.
        inactive: those that need what the source lacks.
        digest: 16 hex digits of both files.
        rules_digest: 16 hex digits of the file of rules.
    """

    def __init__(
        self,
        rules: tuple[Rule, ...] = (),
        lists: Lists | None = None,
        inactive: tuple[Inactive, ...] = (),
        files: tuple[FileContent, ...] = (),
    ) -> None:
        self.rules = rules
        self.lists = lists or Lists()
        self.inactive = inactive
        self.digest = _digest(files)
        self.rules_digest = _digest(files[:1])
        self._signatures = [(file.path, file.signature) for file in files]
        self._asked = [_Asked.of(rule) for rule in rules]

    @classmethod
    def load(cls, rules: Path, lists: Path, catalog: Catalog, rules_required: bool = True) -> "RuleSet":
        """Read, check and compile both files.

        A missing file of lists is empty lists. A missing file of rules is an error, unless it is not required.

        Raises:
            RulesError: naming every problem of both files.
        """
        files = read_file(rules), read_file(lists)
        problems: list[str] = []
        active: tuple[Rule, ...] = ()
        inactive: tuple[Inactive, ...] = ()
        found = Lists()
        if files[0].is_missing and rules_required:
            problems.append(
                f"{rules}: there is no such file of rules. Correct FRAUD_RULES, or write one: docs/rules.md."
            )
        try:
            if not files[0].is_missing:
                active, inactive = parse_rules(files[0], names_of(catalog))
        except RulesError as error:
            problems.append(str(error))
        try:
            found = parse_lists(files[1])
        except RulesError as error:
            problems.append(str(error))
        if problems:
            raise RulesError("\n".join(problems))
        return cls(active, found, inactive, files)

    @classmethod
    def of_settings(cls, settings: Settings, catalog: Catalog) -> "RuleSet":
        """The rules and lists of an installation.

        The file of rules has to be there where FRAUD_RULES names it; the default one need not.

        Raises:
            RulesError: naming every problem of both files.
        """
        return cls.load(settings.rules, settings.lists, catalog, rules_required="rules" in settings.model_fields_set)

    def match(self, event: Mapping[str, Any], vector: NDArray[np.float32]) -> Matches:
        """What rules and lists say of a payment, as of its own time.

        Args:
            event: its columns, with `event_us`.
            vector: its features in the catalog's order, shape (n,); NaN where one is missing.
        """
        live = self.lists.match(event)
        if not self._asked:
            return Matches(tuple(live))
        shadow: list[Match] = []
        moment, values = event["event_us"], vector.tolist()
        for holds, from_us, until_us, in_shadow, match in self._asked:
            if from_us <= moment < until_us and holds(event, values) is True:
                (shadow if in_shadow else live).append(match)
        return Matches(tuple(live), tuple(shadow))

    def stale(self) -> bool:
        """Whether a file is another than the one that was loaded; cheap enough to ask every second."""
        return any(signature_of(path) != signature for path, signature in self._signatures)


class _Asked(NamedTuple):
    """What `match` needs of a rule, as plain as it can be."""

    holds: Reader
    from_us: int
    until_us: int
    in_shadow: bool
    match: Match

    @classmethod
    def of(cls, rule: Rule) -> "_Asked":
        match = Match(rule.name, rule.action, rule.weight, "rule", rule.why)
        return cls(rule.condition.holds, rule.from_us, rule.until_us, rule.mode == "shadow", match)


def _digest(files: tuple[FileContent, ...]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(len(file.content).to_bytes(8))
        digest.update(file.content)
    return digest.hexdigest()[:DIGEST_LENGTH]
