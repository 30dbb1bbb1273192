"""What joins records into customers, and what must not: the rules of identity as one value.

Every number a firm may want otherwise stands here, with the reason for its default; `[identity]` in lakehouse.toml
changes it, and `c360 identity plan` shows what a change would do before it does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# More records and strong identifiers than this around one identifier, and it is no person's: the field's working
# figure is 20 (a person's duplicates over some ten systems stay well below it, a switchboard does not).
_CAPS = {"card": 20, "login": 20, "email": 20, "phone": 20, "handle": 20}

#: Below this match probability two records are more likely two people's; thresholds lie above it.
LEAST_LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """The rules of identity.

    caps: identifier kind -> the most records and strong identifiers it may have around it. household_kinds: kinds that
    people who live together share, of address, email and phone; they join only records whose given names agree. None,
    where the records are of unrelated people (a register, a panel). link_at, review_at: the match probability, 0.5 to
    1, from which two records without a common identifier are one customer, or a case for a person.
    """

    caps: Mapping[str, int] = field(default_factory=lambda: dict(_CAPS))
    household_kinds: tuple[str, ...] = ("address", "email", "phone")
    link_at: float = 0.99
    review_at: float = 0.80


USUAL_RULES = IdentityRules()
