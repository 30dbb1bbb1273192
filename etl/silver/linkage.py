"""What makes two records without a common identifier one person's: blocking and comparisons, declared once.

Probabilistic linkage after Fellegi and Sunter (1969), as Splink computes it: a pair of representatives is compared
attribute by attribute; each comparison finds the level that holds (`same`, `similar`, ... `other`), and a level weighs
log2(m / u), m how often it is seen between records of one person and u how often between records of two. The weights
and the prior add up to the match weight, and that is a probability. What was never observed weighs nothing.

Splink learns the model. `score` weighs by it as Splink's own inference would, to the rounding of floats, for a third of
the CPU and a quarter of the memory.

Pure: frames in, frames out; Splink computes in memory (its DuckDB has no file, no network and no extension to load), is
imported where it is used, and is told every seed. No value of a person is in a `Model`, nor in what is scored.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from etl.errors import ModelRefused

if TYPE_CHECKING:
    import pyarrow as pa
    from splink import DuckDBAPI, Linker, SettingsCreator

OTHER = "other"

#: Records a model is learnt from, at the least: from fewer, levels that matter are seen a handful of times.
ENOUGH_RECORDS = 500
#: Pairs of records known to be one person's from which m is read off; with fewer it is estimated (EM).
ENOUGH_KNOWN_PAIRS = 1_000
#: Pairs a blocking rule must bring before EM learns from it.
ENOUGH_PAIRS_A_RULE = 100
#: Known records looked at, and random pairs drawn: a tenth of a per cent more or less moves no weight.
_KNOWN_RECORDS, _RANDOM_PAIRS, _EM_PAIRS = 100_000, 300_000, 1_000_000
_SEED = 20_260_101
#: A level seen less often than this was not seen often enough to say how rare it is.
_LEAST_M, _LEAST_U = 1e-3, 1 / _RANDOM_PAIRS
#: Pairs compared at a time, for their values to fit in memory.
_PAIRS_AT_ONCE = 250_000
#: More than sums of a few weights differ by when they are added in another order (bits).
_ROUNDING = 1e-9


# --- the declaration --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Level:
    """One outcome of a comparison: its name, and the condition over `<column>_l` and `<column>_r` (DuckDB's SQL)."""

    name: str
    when: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """An attribute compared: the first level that holds, else `other`; nothing where `missing` holds.

    `is_shared`: members of one family share it, so that it never tells them apart (what a household shares beside that,
    `IdentityRules.household_kinds` says: address, email, phone). `other_says_nothing`: people have
    several of these, so that another one is no evidence.
    """

    name: str
    missing: str
    levels: tuple[Level, ...]
    is_shared: bool = False
    other_says_nothing: bool = False

    @property
    def level_names(self) -> tuple[str, ...]:
        """The names of its levels in their order, the last `other`."""
        return (*(level.name for level in self.levels), OTHER)

    @property
    def conditions(self) -> tuple[str, ...]:
        """When there is nothing to compare, then when each level holds."""
        return (self.missing, *(level.when for level in self.levels))


@dataclass(frozen=True, slots=True)
class Compared:
    """The comparison set. blocking: conditions over `l` and `r`, one of which a pair must meet to be compared at all.

    learning: columns within whose blocks EM learns the comparisons that do not use them.
    """

    blocking: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    learning: tuple[tuple[str, ...], ...]

    @property
    def fingerprint(self) -> str:
        """The same for the same set, and for no other; 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.told(), sort_keys=True).encode()).hexdigest()[:16]

    def told(self) -> dict[str, Any]:
        """The set as plain values, the form in which a model keeps what it was learnt for."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


def _both(*columns: str) -> str:
    return " AND ".join(f"l.{column} = r.{column}" for column in columns)


def _not_other(column: str) -> str:
    return f"(l.{column} = r.{column} OR l.{column} IS NULL OR r.{column} IS NULL)"


def _lacks(column: str) -> str:
    return f"{column}_l IS NULL OR {column}_r IS NULL"


def _same(column: str) -> str:
    return f"{column}_l = {column}_r"


def _alike(column: str, least: float) -> str:
    return f"jaro_winkler_similarity({column}_l, {column}_r) >= {least}"


def _slips(column: str, most: int) -> str:
    # A swap of neighbours is two of the slips that the first counts, which is many times as fast.
    first, second = f"{column}_l", f"{column}_r"
    return f"levenshtein({first}, {second}) <= {2 * most} AND damerau_levenshtein({first}, {second}) <= {most}"


_SWAPPED = "given_name_l = family_name_r AND family_name_l = given_name_r"
#: One postal code; or, where one side has none, one town.
_SAME_PLACE = f"({_same('postal_code')} OR ((postal_code_l IS NULL OR postal_code_r IS NULL) AND {_same('city')}))"
_SAME_HOUSE = "house_number_l IS NOT DISTINCT FROM house_number_r"

COMPARED = Compared(
    # Each brings a few pairs a record at a million records: no rule asks for less than some three thousandths of them.
    blocking=(
        _both("national_id"),
        _both("birth_date", "family_initial"),
        _both("birth_date", "given_initial"),
        "l.birth_date = r.birth_date AND l.given_start = r.family_start",
        "l.birth_date = r.birth_date AND l.family_start = r.given_start",
        _both("birth_date", "city"),
        _both("postal_code", "family_start"),
        _both("postal_code", "given_start", "street_start"),
        _both("street", "house_number", "given_initial"),
        f"{_both('given_name', 'city')} AND {_not_other('family_initial')}",
        f"{_both('family_name', 'city')} AND {_not_other('given_initial')}",
        f"{_both('given_name', 'birth_year')} AND {_not_other('family_initial')}",
        f"{_both('family_name', 'birth_year')} AND {_not_other('given_initial')}",
        _both("email_name"),
        "l.given_name = r.family_name AND l.family_name = r.given_name",
    ),
    comparisons=(
        Comparison(
            "given_name",
            _lacks("given_name"),
            (
                Level("same", _same("given_name")),
                Level("swapped with the family name", _SWAPPED),
                Level("similar", _alike("given_name", 0.92)),
                Level(
                    "short form or nickname",
                    "starts_with(given_name_l, given_name_r) OR starts_with(given_name_r, given_name_l) "
                    "OR list_has_any(nicknames_l, nicknames_r)",
                ),
                Level("remotely similar", _alike("given_name", 0.8)),
            ),
        ),
        Comparison(
            "family_name",
            f"{_lacks('family_name')} OR ({_SWAPPED})",  # told once, by the given name
            (
                Level("same", _same("family_name")),
                Level("similar", _alike("family_name", 0.92)),
                Level("remotely similar", _alike("family_name", 0.8)),
            ),
            is_shared=True,
        ),
        Comparison(
            "birth_date",
            _lacks("birth_date"),
            (
                Level("same", _same("birth_date")),
                Level("one slip apart", _slips("birth_date", 1)),
                Level("two slips apart", _slips("birth_date", 2)),
            ),
            is_shared=True,  # twins
        ),
        # Street and town are one comparison: they come together, and taken apart a household would count them twice.
        Comparison(
            "address",
            "coalesce(street_l, postal_code_l, city_l) IS NULL OR coalesce(street_r, postal_code_r, city_r) IS NULL",
            (
                Level("same", f"{_same('street')} AND {_SAME_HOUSE} AND {_SAME_PLACE}"),
                Level("similar street, same place", f"{_SAME_PLACE} AND {_SAME_HOUSE} AND {_alike('street', 0.88)}"),
                Level("same street, another place", f"{_same('street')} AND {_SAME_HOUSE}"),
                Level("same postal code", _same("postal_code")),
                Level("same town", f"{_same('city')} OR {_alike('city', 0.92)}"),
                Level("similar postal code", _slips("postal_code", 1)),
            ),
        ),
        Comparison(
            "national_id",
            _lacks("national_id"),
            (Level("same", _same("national_id")), Level("one slip apart", _slips("national_id", 1))),
        ),
        Comparison(
            "email",
            f"{_lacks('email')} OR {_same('email')}",  # one mailbox would have joined them, or a guard forbade it
            # Addresses are made of names, so a namesake's looks much alike: only a slip of the finger counts, and
            # another digit or first letter is none (j.hahn and k.hahn, hahn71 and hahn73 are two people).
            (
                Level(
                    "one slip apart", f"{_same('email_initial')} AND {_same('email_digits')} AND {_slips('email', 1)}"
                ),
                Level("similar", _alike("email", 0.9)),
            ),
            other_says_nothing=True,
        ),
        Comparison(
            "phone",
            f"{_lacks('phone')} OR {_same('phone')}",
            (Level("one slip apart", _slips("phone", 1)),),
            other_says_nothing=True,
        ),
    ),
    learning=(("given_name", "family_name"), ("birth_date",), ("national_id",)),
)

#: The columns of a representative, beside its node.
VALUES: dict[str, pl.DataType] = {
    "given_name": pl.String(),
    "nicknames": pl.List(pl.Int64()),
    **dict.fromkeys(("family_name", "birth_date", "street", "house_number", "postal_code", "city"), pl.String()),
    **dict.fromkeys(("national_id", "email", "phone"), pl.String()),
}


_MAILBOX = pl.col("email").str.extract(r"^([^@]+)")
#: What the conditions ask of a representative beside its values: how it is made of them.
PARTS: dict[str, pl.Expr] = {
    "given_initial": pl.col("given_name").str.slice(0, 1),
    "given_start": pl.col("given_name").str.slice(0, 3),
    "family_initial": pl.col("family_name").str.slice(0, 1),
    "family_start": pl.col("family_name").str.slice(0, 3),
    "birth_year": pl.col("birth_date").str.slice(0, 4),
    "street_start": pl.col("street").str.slice(0, 1),
    "email_name": _MAILBOX,
    "email_digits": _MAILBOX.str.replace_all(r"\D", ""),
    "email_initial": pl.col("email").str.slice(0, 1),
}


def _of_blocking(compared: Compared) -> list[pl.Expr]:
    """What the blocking rules speak of, by its name."""
    return _named(r"\b[lr]\.{}\b", compared.blocking)


def _of_comparing(*comparisons: Comparison) -> list[pl.Expr]:
    """What the conditions of the comparisons speak of, by its name."""
    return _named(r"\b{}_[lr]\b", [when for each in comparisons for when in each.conditions])


def _named(pattern: str, conditions: Iterable[str]) -> list[pl.Expr]:
    said = " ".join(conditions)
    every = {name: pl.col(name) for name in VALUES} | PARTS
    return [made.alias(name) for name, made in every.items() if re.search(pattern.format(name), said)]


# --- the model --------------------------------------------------------------------------------------------------------

#: comparison -> level -> (m, u)
Learnt = Mapping[str, Mapping[str, tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Model:
    """What was learnt: `prior`, the probability that two random representatives are one person, and each level's m, u.

    `learnt_from`: known_pairs or em. Holds probabilities alone, never a value.
    """

    prior: float
    learnt: Learnt
    compared: Mapping[str, Any]
    learnt_from: str

    @property
    def prior_weight(self) -> float:
        """The prior in bits: where every waterfall begins."""
        return float(np.log2(self.prior / (1 - self.prior)))

    def weight(self, comparison: str, level: str) -> float:
        """What `level` weighs, in bits."""
        m, u = self.learnt[comparison][level]
        return float(np.log2(m / u))

    def to_json(self) -> str:
        """The model as text, the same for the same model."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Model:
        """The model `text` holds."""
        said = json.loads(text)
        learnt = {
            name: {level: (float(m), float(u)) for level, (m, u) in levels.items()}
            for name, levels in said["learnt"].items()
        }
        return Model(said["prior"], learnt, said["compared"], said["learnt_from"])

    def fit_for(self, compared: Compared) -> Model:
        """The model itself.

        Raises: ModelRefused when it was learnt for another comparison set, with what differs.
        """
        if differs := differences(self.compared, compared.told()):
            raise ModelRefused(
                f"silver.identity_model: the model was learnt for another comparison set ({'; '.join(differs)}); "
                "learn one for this set: c360 identity train"
            )
        return self


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What the comparison set `other` has otherwise than `one`, a phrase each; empty when they are the same."""

    def levels(told: Mapping[str, Any]) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for each in told["comparisons"]:
            flat[each["name"]] = {name: value for name, value in each.items() if name not in {"name", "levels"}}
            flat |= {f"{each['name']}: {level['name']}": level["when"] for level in each["levels"]}
        return flat

    before, after = levels(one), levels(other)
    told = [f"{name} is new" for name in after if name not in before]
    told += [f"{name} is gone" for name in before if name not in after]
    told += [f"{name} is another" for name, value in after.items() if name in before and before[name] != value]
    orders = [[each["name"] for each in said["comparisons"]] for said in (one, other)]
    if not told and (orders[0] != orders[1] or list(before) != list(after)):
        told.append("levels are in another order")
    return told + [f"{part} differs" for part in ("blocking", "learning") if one[part] != other[part]]


# --- learning ---------------------------------------------------------------------------------------------------------


def learn(
    representatives: pl.DataFrame, known: pl.DataFrame, *, compared: Compared = COMPARED, enough: int = ENOUGH_RECORDS
) -> Model | None:
    """A model of these representatives; None where there is too little to learn from.

    representatives: node_id and `VALUES`. known: the records themselves, with the `component` identity already has them
    in. u is counted on random pairs of representatives. m is counted on the pairs that are known to be one person's,
    which no household spoils; where there are too few, EM estimates it block by block (Winkler 1988).
    """
    if known.height < enough or representatives.height < 2:
        return None
    linker = _linker(representatives, compared)
    linker.training.estimate_u_using_random_sampling(max_pairs=_RANDOM_PAIRS, seed=_SEED)
    u = _read_off(linker)
    pairs = _pairs_within(known, ["component"])
    m = _m_of_known(known, compared) if pairs >= ENOUGH_KNOWN_PAIRS else _m_by_em(representatives, linker, compared)
    if m is None:
        return None
    learnt = {
        each.name: _weighed(
            each,
            {level: numbers[0] for level, numbers in m[each.name].items()},
            {level: numbers[1] for level, numbers in u[each.name].items()},
        )
        for each in compared.comparisons
    }
    source = "known_pairs" if pairs >= ENOUGH_KNOWN_PAIRS else "em"
    model = Model(1e-4, learnt, compared.told(), source)
    return Model(_prior(representatives, model, compared), learnt, compared.told(), source)


def _weighed(comparison: Comparison, m: _Seen, u: _Seen) -> dict[str, tuple[float, float]]:
    """level -> (m, u) as they are kept: both alike, so weighing nothing, where there was nothing to learn from.

    A level of a comparison that was learnt, but never seen itself, is as rare as what can be seen at all. Six digits:
    sums of floats end otherwise on another machine, and the model should not.
    """
    if all(value is None for value in m.values()) or all(value is None for value in u.values()):
        return dict.fromkeys(u, (1.0, 1.0))
    weighed = {
        level: (max(float(f"{m[level] or 0:.6g}"), _LEAST_M), max(float(f"{u[level] or 0:.6g}"), _LEAST_U))
        for level in u
    }
    return weighed | ({OTHER: (1.0, 1.0)} if comparison.other_says_nothing else {})


def _m_of_known(known: pl.DataFrame, compared: Compared) -> _Read:
    several = known.filter(pl.len().over("component") > 1).sort("component", "node_id").head(_KNOWN_RECORDS)
    linker = _linker(several, compared, label="component")
    linker.training.estimate_m_from_label_column("component")
    return _read_off(linker)


def _m_by_em(representatives: pl.DataFrame, linker: Linker, compared: Compared) -> _Read | None:
    """m after one session of EM in the blocks of every learning rule that brings pairs enough; None when none does."""
    from splink import block_on

    rules = [
        rule for rule in compared.learning if _pairs_within(representatives, list(rule)) >= ENOUGH_PAIRS_A_RULE
    ]  # Splink 5.0.0 loses comparisons of a rule without pairs, so they are counted first
    for rule in rules:
        linker.training.estimate_parameters_using_expectation_maximisation(block_on(*rule), max_pairs=_EM_PAIRS)
    return _read_off(linker) if rules else None


def _pairs_within(frame: pl.DataFrame, columns: list[str]) -> int:
    """How many pairs of rows agree in all `columns`."""
    size = frame.drop_nulls(columns).group_by(columns).len()["len"].cast(pl.Int64)
    return int((size * (size - 1) // 2).sum())


def _prior(representatives: pl.DataFrame, model: Model, compared: Compared) -> float:
    """The share of all pairs that are matches, by the weights of those that were compared (EM's step for it alone).

    Pairs whose given names differ are left out: families, whose attributes hang together, would count as matches.
    """
    counted = pl.concat(
        pairs.filter(pl.col("given_name") != OTHER).group_by("weight").len()
        for pairs in _weighed_pairs(representatives, model, changed=None, least=None, compared=compared)
    ).sort("weight")
    count = representatives.height
    every = count * (count - 1) / 2
    weights = counted["weight"].to_numpy() - model.prior_weight
    prior = 1 / every
    for _ in range(50):
        odds = np.exp2(np.clip(weights + np.log2(prior / (1 - prior)), -500, 500))
        prior = min(max(float((odds / (1 + odds) * counted["len"].to_numpy()).sum()), 1.0) / every, 0.5)
    return float(f"{prior:.4g}")


# --- scoring ----------------------------------------------------------------------------------------------------------


def score(
    representatives: pl.DataFrame,
    model: Model,
    *,
    changed: pl.Series | None = None,
    least: float | None,
    compared: Compared = COMPARED,
) -> pl.DataFrame:
    """Every pair some blocking rule brings together, with a match probability of `least` or more (None: all).

    One row a pair, the smaller node left: left_node_id, right_node_id, match_probability, match_weight (bits), and for
    each comparison the name of its level (null: nothing to compare). changed: nodes; only pairs with one of them are
    looked at, and come out just as they would among all. The weights are Splink's own (its `inference.predict` under
    the same model), a pair at a time: a value is only fetched while the pair can still come to `least`.
    """
    found = pl.concat(_weighed_pairs(representatives, model, changed=changed, least=least, compared=compared))
    ends = [representatives["node_id"].gather(found[side]) for side in ("left", "right")]
    return found.select(
        pl.min_horizontal(*ends).alias("left_node_id"),
        pl.max_horizontal(*ends).alias("right_node_id"),
        (1 / (1 + (-np.log(2) * pl.col("weight")).exp())).alias("match_probability"),
        pl.col("weight").round(6).alias("match_weight"),
        *(pl.col(each.name).cast(pl.String) for each in compared.comparisons),
    ).sort("left_node_id", "right_node_id")


def _weighed_pairs(
    shown: pl.DataFrame, model: Model, *, changed: pl.Series | None, least: float | None, compared: Compared
) -> Iterator[pl.DataFrame]:
    """The scored pairs, some at a time, sorted: left, right (places in `shown`), weight, each comparison's level."""
    enough = -np.inf if least is None else np.log2(least) - np.log2(1 - least)
    weights = {each.name: _level_weights(model, each) for each in compared.comparisons}
    database = _database(threads=2)
    blocked = _blocked(database, shown, changed, compared)
    for begin in range(0, max(blocked.height, 1), _PAIRS_AT_ONCE):
        pairs = blocked.slice(begin, _PAIRS_AT_ONCE).with_columns(weight=pl.lit(model.prior_weight))
        most = sum(each.max() for each in weights.values())
        for each in sorted(compared.comparisons, key=_cost):
            level = _level_numbers(database, shown, pairs, each)
            most -= weights[each.name].max()
            pairs = pairs.with_columns(
                pl.col("weight") + weights[each.name][level.to_numpy()],
                level.replace(-1, None).cast(pl.UInt8).cat.to(pl.Enum(each.level_names)).alias(each.name),
            ).filter(pl.col("weight") + most >= enough - _ROUNDING)
        yield pairs.filter(pl.col("weight") >= enough)


def _cost(comparison: Comparison) -> int:
    """How many of its levels count slips, which takes six times as long as anything else that is asked of a pair."""
    return sum("levenshtein" in level.when for level in comparison.levels)


def _level_weights(model: Model, comparison: Comparison) -> npt.NDArray[np.float64]:
    """What each level weighs, by its number, (levels + 2,): the last is nothing, of what cannot be compared (-1)."""
    return np.array([*(model.weight(comparison.name, level) for level in comparison.level_names), 0.0])


def _blocked(database: DuckDBAPI, shown: pl.DataFrame, changed: pl.Series | None, compared: Compared) -> pl.DataFrame:
    """left < right, the places in `shown` of every pair some blocking rule brings together; sorted, each once.

    Joined are not the values but numbers that stand for them, so rules can ask for nothing but equality and absence.
    """
    _asked(database, "CREATE TABLE codes AS FROM frame", frame=_codes(shown, changed, compared))
    # Told of one end at a time, the database begins with the few that changed and not with the pairs of all.
    ends = ["l.is_changed"] if changed is None else ["l.is_changed", "r.is_changed"]
    select = "SELECT (l.place << 32) | r.place AS pair FROM codes AS l JOIN codes AS r ON l.place < r.place"
    found = [_asked(database, f"{select} AND ({rule}) AND {end}") for rule in compared.blocking for end in ends]
    _asked(database, "DROP TABLE codes")
    pair = pl.concat(found)["pair"].sort().unique()
    return pl.DataFrame({"left": pair // (1 << 32), "right": pair % (1 << 32)})


def _codes(shown: pl.DataFrame, changed: pl.Series | None, compared: Compared) -> pl.DataFrame:
    """place, is_changed and, for each column the blocking rules name, numbers that stand for its values.

    The same number for the same value in any column; null for null.
    """
    numbers = pl.Categorical(pl.Categories.random())
    # All of them first, then their numbers: a value keeps its number only as long as some column holds it.
    categorical = shown.select(each.cast(numbers) for each in _of_blocking(compared))
    return categorical.select(
        pl.int_range(pl.len()).alias("place"),
        (pl.lit(True) if changed is None else shown["node_id"].is_in(changed.implode())).alias("is_changed"),
        pl.all().to_physical(),
    )


def _level_numbers(database: DuckDBAPI, shown: pl.DataFrame, pairs: pl.DataFrame, comparison: Comparison) -> pl.Series:
    """The level that holds for each pair, (pairs.height,): its place in `level_names`, -1 with nothing to compare."""
    asked = _of_comparing(comparison)
    values = shown.select({name for each in asked for name in each.meta.root_names()})
    sides = [
        values[pairs[side]].select(asked).select(pl.all().name.suffix(f"_{side[0]}")) for side in ("left", "right")
    ]
    cases = " ".join(
        f"WHEN {condition} THEN {number}" for number, condition in enumerate(comparison.conditions, start=-1)
    )
    query = f"SELECT (CASE {cases} ELSE {len(comparison.levels)} END)::TINYINT AS level FROM sides"  # noqa: S608
    # In the order of the pairs: DuckDB keeps it where nothing is joined.
    return _asked(database, query, sides=pl.concat(sides, how="horizontal"))["level"]


# --- Splink -----------------------------------------------------------------------------------------------------------

#: level -> m or u, None where it was not observed
_Seen = Mapping[str, float | None]
#: comparison -> level -> (m, u), None where it was not observed
_Read = Mapping[str, Mapping[str, tuple[float | None, float | None]]]


def _settings(compared: Compared, *, label: str | None = None) -> SettingsCreator:
    """The comparison set in Splink's words, for it to learn; `score` blocks and weighs by itself."""
    from splink import SettingsCreator
    from splink.comparison_level_library import CustomLevel, ElseLevel
    from splink.comparison_library import CustomComparison

    return SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="node_id",
        comparisons=[
            CustomComparison(
                [
                    CustomLevel(each.missing, "missing").configure(is_null_level=True),
                    *(CustomLevel(level.when, level.name) for level in each.levels),
                    ElseLevel(),
                ],
                output_column_name=each.name,
            )
            for each in compared.comparisons
        ],
        probability_two_random_records_match=1e-4,
        additional_columns_to_retain=[label] if label else [],
        em_convergence=1e-3,
        linker_uid="c360",
    )


def _database(*, threads: int) -> DuckDBAPI:
    """A DuckDB of its own, as Splink has it, that is in memory and stays there."""
    from splink import DuckDBAPI

    database = DuckDBAPI(":memory:")
    for setting in (
        f"threads = {threads}",
        "enable_progress_bar = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "temp_directory = ''",
    ):
        database.duckdb_con.execute(f"SET {setting}")
    return database


def _asked(database: DuckDBAPI, query: str, **frames: pl.DataFrame) -> pl.DataFrame:
    """The answer; frames: name -> the table of that name, as long as the query runs."""
    for name, frame in frames.items():
        database.duckdb_con.register(name, _table(frame))
    told = pl.DataFrame(database.duckdb_con.execute(query).to_arrow_table())
    for name in frames:
        database.duckdb_con.unregister(name)
    return told


def _table(frame: pl.DataFrame) -> pa.Table:
    """The frame as DuckDB reads it, nothing copied: text as it is in Polars, too."""
    return frame.to_arrow(compat_level=pl.CompatLevel.newest())


def _linker(frame: pl.DataFrame, compared: Compared, *, label: str | None = None) -> Linker:
    """Splink over the frame, with one thread: sums of floats decide a model, and must not depend on who came first."""
    from splink import Linker

    shown = frame.with_columns(_of_comparing(*compared.comparisons))
    registered = _database(threads=1).register(_table(shown))
    # Splink says of levels that were not observed; what they then weigh is ours (`_weighed`), so it need not.
    return Linker(registered, _settings(compared, label=label), log_level=_SILENT, validate_settings=False)


_SILENT = 60


def _read_off(linker: Linker) -> _Read:
    """m and u of every level as Splink has them now, None where it did not observe the level."""
    read: dict[str, dict[str, tuple[float | None, float | None]]] = {}
    for each in linker.misc.save_model_to_json()["comparisons"]:
        levels = [level for level in each["comparison_levels"] if not level.get("is_null_level")]
        names = [*(level["label_for_charts"] for level in levels[:-1]), OTHER]
        read[each["output_column_name"]] = {
            name: (_number(level.get("m_probability")), _number(level.get("u_probability")))
            for name, level in zip(names, levels, strict=True)
        }
    return read


def _number(value: float | str | None) -> float | None:
    """Splink writes a sentence where a level was not observed."""
    return float(value) if isinstance(value, int | float) else None
