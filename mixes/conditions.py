"""Which SQL may stand in a pool's [keep], and what does it ask of scores and hits, or of a rewrite's checks?

A condition is one expression. It is parsed (sqlglot, DuckDB's dialect), every node of it is compared with the list of
what is allowed, and what runs is the SQL written out again from that tree, never the recipe's own text: a construct
that the two parsers read differently has no way in. Allowed are the columns of `documents`, score('measure'),
label('measure'), status('measure'), blocklist_flag(...), is_representative('near') and its like, the rule sets of
mixes/rules.py, the operators and scalar functions listed here, and subqueries over `documents`, `scores`, `hits`,
`duplicates`, `segments` and `rewrites` of the pool's own documents. In a pool of rewrites they are the columns of
`rewrites`, check('name'), passed('name'), and subqueries over `rewrites` and `checks`.

Not covered: the time a condition takes. A regular expression runs in linear time (RE2), a correlated subquery need not.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from sqlglot import exp
from sqlglot.dialects import Dialect
from sqlglot.errors import ParseError, TokenError

from leaven.errors import UserError
from mixes.rules import RULES, expand
from schemas.tables import TABLES

SCOPE = ("documents", "scores", "hits", "duplicates", "segments", "rewrites")  # what a subquery may read
SCOPES = {"documents": SCOPE, "rewrites": ("rewrites", "checks")}  # what a pool is made of -> the same
OUTER = {"documents": "document", "rewrites": "item"}  # the row that a condition is about, in a correlated subquery

OPERATORS = (
    exp.Paren, exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ,
    exp.NullSafeNEQ, exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.Glob, exp.SimilarTo, exp.Escape, exp.Any,
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.DPipe, exp.Case, exp.If, exp.Cast,
    exp.TryCast, exp.DataType, exp.DataTypeParam, exp.Null, exp.Boolean, exp.Literal, exp.Array, exp.Tuple, exp.Column,
    exp.Identifier, exp.Bracket, exp.Slice, exp.Lambda, exp.JSONPath, exp.JSONPathRoot, exp.JSONPathKey,
    exp.JSONPathSubscript,
)  # fmt: skip
FUNCTIONS = (
    exp.Abs, exp.Round, exp.Floor, exp.Ceil, exp.Sqrt, exp.Ln, exp.Log, exp.Exp, exp.Sign, exp.Trunc, exp.IsNan,
    exp.IsInf, exp.Length, exp.Lower, exp.Upper, exp.Trim, exp.Reverse, exp.Contains, exp.StartsWith, exp.EndsWith,
    exp.StrPosition, exp.Substring, exp.Left, exp.Right, exp.SplitPart, exp.Split, exp.Replace, exp.Translate,
    exp.Concat, exp.ConcatWs, exp.RegexpLike, exp.RegexpFullMatch, exp.RegexpExtract, exp.RegexpExtractAll,
    exp.RegexpReplace, exp.Levenshtein, exp.Greatest, exp.Least, exp.Coalesce, exp.Nullif, exp.Year, exp.Month, exp.Day,
    exp.ArrayContains, exp.ArrayOverlaps, exp.ArraySize, exp.ArrayMin, exp.ArrayMax, exp.ArrayDistinct, exp.ArrayFilter,
    exp.Transform, exp.JSONExtract, exp.JSONExtractScalar, exp.MD5,
)  # fmt: skip
FUNCTIONS_BY_NAME = (
    "strlen", "isfinite", "strip_accents", "prefix", "suffix", "list_has_all", "list_has_any", "list_intersect",
    "list_position", "list_extract", "list_slice", "list_sum", "list_avg", "list_count", "list_unique",
    "regexp_split_to_array", "jaccard", "json_valid", "json_array_length", "json_contains", "nfc_normalize",
)  # fmt: skip
SUBQUERY = (
    exp.Exists, exp.Subquery, exp.Select, exp.From, exp.Table, exp.TableAlias, exp.Alias, exp.Star, exp.Where, exp.Join,
    exp.Group, exp.Having, exp.Qualify, exp.Order, exp.Ordered, exp.Window, exp.WindowSpec, exp.RowNumber, exp.Distinct,
    exp.Filter, exp.Count, exp.CountIf, exp.Sum, exp.Min, exp.Max, exp.Avg, exp.ArgMin, exp.ArgMax, exp.LogicalOr,
    exp.LogicalAnd,
)  # fmt: skip
SCALAR_TYPES = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "INT128", "UTINYINT", "USMALLINT", "UINT", "UBIGINT", "FLOAT",
    "DOUBLE", "DECIMAL", "VARCHAR", "TEXT", "DATE", "TIMESTAMP",
)  # fmt: skip
MEASURED = {"score": "number", "label": "label", "status": "status"}  # function -> column of the table scores
CHECKED = {"check": "number", "passed": "passed"}  # function -> column of the table checks
COPIED = {  # function of a method -> what it reads of the document's row in the table duplicates
    "is_representative": "representative = document_id",
    "duplicate_of": "nullif(representative, document_id)",
    "cluster": "cluster",
    "cluster_size": "size",
    "cluster_jaccard": "jaccard",
}
METHODS = ("exact", "url", "near")
_OPERATORS_IN_WORDS = [
    "and or not, = <> < <= > >=, in, between, like, ilike, is null, case, cast, + - * / % ||, coalesce",
    "length lower upper trim contains starts_with ends_with regexp_matches substring list_contains abs round and such",
]
ALLOWED_IN_WORDS = {
    "documents": [
        "allowed: columns of documents, score('measure'), label('measure'), status('measure'), blocklist_flag(...)",
        f"of duplicates: {', '.join(COPIED)}, each of {', '.join(map(repr, METHODS))}",
        f"rule sets: {', '.join(f'{name}()' for name in RULES)}",
        *_OPERATORS_IN_WORDS,
        f"subqueries over {', '.join(SCOPE)} of the pool's own documents",
    ],
    "rewrites": [
        "allowed: columns of rewrites, check('name') (its number), passed('name') (true or false)",
        *_OPERATORS_IN_WORDS,
        f"subqueries over {' and '.join(SCOPES['rewrites'])} of the pool's own rewrites",
    ],
}
FUNCTIONS_OF = {"documents": (*MEASURED, *COPIED, "blocklist_flag"), "rewrites": tuple(CHECKED)}


@dataclass(frozen=True)
class FlagCall:
    """The parameters of one blocklist_flag(...); `window` in Unicode code points, None for the whole document."""

    distinct_terms: int = 2
    window: int | None = None
    instant: bool = True
    without: tuple[str, ...] = ()

    @property
    def column(self) -> str:
        """Name of the column that holds the answer while conditions are evaluated; equal calls share it."""
        return "flag " + json.dumps([self.distinct_terms, self.window, self.instant, self.without])


@dataclass(frozen=True)
class Condition:
    """One named condition, allowed and written out anew.

    `sql` is as the recipe spells it. `predicate` is what runs: measures and flags are columns named by
    `measure_column` and `FlagCall.column`. `measures` holds (function, measure) pairs (of rewrites: function, check),
    `copies` (function, method) pairs, `tables` what subqueries read. `of` is what it judges: documents or rewrites.
    `is_flag` is true where the whole condition is `not blocklist_flag(...)`.
    """

    name: str
    sql: str
    predicate: str
    measures: tuple[tuple[str, str], ...] = ()
    flags: tuple[FlagCall, ...] = ()
    tables: tuple[str, ...] = ()
    is_flag: bool = False
    where: str | None = field(default=None, compare=False)
    copies: tuple[tuple[str, str], ...] = ()
    of: str = "documents"


def measure_column(function: str, measure: str) -> str:
    return f"{function} {measure}"


def parse_condition(
    name: str, sql: str, where: str | None = None, *, also_without: tuple[str, ...] = (), of: str = "documents"
) -> Condition:
    """Parse and check one condition; raises UserError for bad syntax or anything that is not allowed.

    `also_without` takes further terms out of every blocklist_flag in it (a counterfactual).
    """
    tree = expand(_parse(sql, where), where)
    _check(tree, where, of)
    measures: set[tuple[str, str]] = set()
    copies: set[tuple[str, str]] = set()
    flags: list[FlagCall] = []

    def rewrite(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Anonymous):
            return node
        called = node.name.lower()
        if called in MEASURED or called in CHECKED:
            measure = _measure(node, where)
            measures.add((called, measure))
            return exp.column(measure_column(called, measure), quoted=True)
        if called in COPIED:
            method = _measure(node, where, METHODS)
            copies.add((called, method))
            return exp.column(measure_column(called, method), quoted=True)
        if called == "blocklist_flag":
            call = _flag_call(node, where, also_without)
            flags.append(call)
            return exp.column(call.column, quoted=True)
        return node

    bare = tree.unnest()
    is_flag = isinstance(bare, exp.Not) and _is_call(bare.this.unnest(), "blocklist_flag")
    tables = sorted({t.name.lower() for t in tree.find_all(exp.Table)})
    predicate = tree.transform(rewrite).sql("duckdb", comments=False)
    return Condition(
        name, sql, predicate, tuple(sorted(measures)), tuple(dict.fromkeys(flags)), tuple(tables), is_flag, where,
        tuple(sorted(copies)), of,
    )  # fmt: skip


def parse_conditions(
    conditions: dict[str, str],
    where: Callable[[str], str] | None = None,
    *,
    also_without: tuple[str, ...] = (),
    of: str = "documents",
) -> list[Condition]:
    """Parse a recipe's [keep], in its order; `where` turns a condition's name into `file:line (key)`."""
    place = where or (lambda name: f"condition '{name}'")
    for name, sql in conditions.items():
        if not isinstance(sql, str):
            raise UserError(f"condition '{name}' must be a string with one SQL expression", where=place(name))
    return [parse_condition(n, s, place(n), also_without=also_without, of=of) for n, s in conditions.items()]


def flag_parameters(sql: str) -> list[FlagCall]:
    """The parameters of each blocklist_flag in a condition, in order."""
    return list(parse_condition("condition", sql).flags)


def _parse(sql: str, where: str | None) -> exp.Expr:
    dialect = Dialect.get_or_raise("duckdb")
    try:
        odd = [
            t.text for t in dialect.tokenize(sql) if "~" in t.text and t.token_type.name not in ("STRING", "IDENTIFIER")
        ]
        if odd:  # sqlglot reads ~ as a partial match, DuckDB as a full one
            raise UserError(f"the operator {odd[0]} is not allowed in a condition", where=where,
                            do="write regexp_matches(text, '...') or regexp_full_match(text, '...')")  # fmt: skip
        trees = [t for t in dialect.parse_into(exp.Condition, sql) if t is not None]
    except ParseError as error:
        at = error.errors[0] if error.errors else {}
        piece = at.get("highlight") or ""
        raise UserError(
            f"this condition is not one SQL expression: {at.get('description', str(error)).split(' for <')[0]}",
            where=where,
            numbers=[f"line {at.get('line', 1)}, column {at.get('col', 1)}, at: {piece}", sql.strip()],
            do="a condition is one expression, such as: score('words') >= 50",
        ) from None
    except TokenError as error:
        raise UserError(
            f"this condition cannot be read: {str(error).splitlines()[0]}", where=where, numbers=[sql.strip()]
        ) from None
    if len(trees) != 1:
        said = "is empty" if not trees else "holds more than one expression"
        raise UserError(f"this condition {said}", where=where, numbers=[sql.strip()] if sql.strip() else None,
                        do="a condition is one expression, such as: score('words') >= 50")  # fmt: skip
    return trees[0]


def _refuse(node: exp.Expr, what: str, where: str | None, numbers: list[str], do: str | None = None) -> NoReturn:
    piece = node.sql("duckdb", comments=False)
    piece = piece if len(piece) <= 100 else piece[:97] + "..."
    raise UserError(f"{what}: {piece}", where=where, numbers=numbers, do=do)


def _check(tree: exp.Expr, where: str | None, of: str) -> None:
    """Compare every node with what is allowed of documents or rewrites; raises UserError at the first that is not."""
    columns, scope, functions, words = TABLES[of].names, SCOPES[of], FUNCTIONS_OF[of], ALLOWED_IN_WORDS[of]
    for node in tree.walk():
        inside = node.find_ancestor(exp.Select) is not None
        if isinstance(node, exp.Anonymous):
            name = node.name.lower()
            if name in functions:
                if inside:
                    _refuse(node, f"{name}() cannot stand in a subquery", where,
                            [f"a subquery reads the tables {', '.join(scope)} themselves"])  # fmt: skip
            elif name not in FUNCTIONS_BY_NAME:
                near = difflib.get_close_matches(name, [*functions, *RULES, *FUNCTIONS_BY_NAME], 1)
                _refuse(node, f"the function {name} is not allowed in a condition of {of}", where, words,
                        f"did you mean {near[0]}?" if near else None)  # fmt: skip
        elif isinstance(node, exp.PropertyEQ):
            if not _is_call(node.parent, "blocklist_flag"):
                _refuse(node, "a named argument is not allowed here", where, words)
        elif isinstance(node, exp.Table):
            if not isinstance(node.this, exp.Identifier) or node.args.get("db") or node.name.lower() not in scope:
                _refuse(node, "a condition cannot read this", where,
                        [f"a subquery may read {', '.join(scope)}, of the pool's own {of}"])  # fmt: skip
        elif isinstance(node, exp.Window) and not inside:
            _refuse(node, "a window function stands outside a subquery", where, words)
        elif isinstance(node, SUBQUERY):
            if not inside and not isinstance(node, (exp.Select, exp.Subquery, exp.Exists)):
                _refuse(node, "an aggregate or a clause stands outside a subquery", where, words)
        elif isinstance(node, exp.Column) and not inside:
            table = node.table.lower()
            if len(node.parts) > 2 or table not in ("", OUTER[of]) or node.name.lower() not in columns:
                near = difflib.get_close_matches(node.name.lower(), columns, 1)
                measured = "score('name') or label('name')" if of == "documents" else "check('name') or passed('name')"
                _refuse(node, f"{of} have no such column", where,
                        [f"columns: {', '.join(columns)}", f"a measurement is {measured}"],
                        f"did you mean {near[0]}?" if near else None)  # fmt: skip
        elif isinstance(node, exp.DataType):
            if node.this.name not in (*SCALAR_TYPES, "ARRAY", "LIST"):
                _refuse(node, "a condition cannot cast to this type", where, [f"types: {', '.join(SCALAR_TYPES)}"])
        elif not isinstance(node, (*OPERATORS, *FUNCTIONS)):
            _refuse(node, "this is not allowed in a condition", where, words)


def _is_call(node: exp.Expr | None, name: str) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.lower() == name


def _measure(node: exp.Anonymous, where: str | None, of: tuple[str, ...] = ()) -> str:
    names = node.expressions
    if of and (len(names) != 1 or not _is_text(names[0]) or names[0].name not in of):
        _refuse(node, f"{node.name.lower()} takes a method", where, [f"methods: {', '.join(map(repr, of))}"])
    if len(names) != 1 or not _is_text(names[0]):
        function = node.name.lower()
        _refuse(node, f"{function} takes the name of one measure", where, [f"as in {function}('language')"])
    return names[0].name


def _flag_call(node: exp.Anonymous, where: str | None, also_without: tuple[str, ...]) -> FlagCall:
    """Read the named, constant parameters of blocklist_flag; raises UserError for anything else."""
    values: dict = {}
    usage = ["blocklist_flag(distinct_terms := 2, window := NULL, instant := true, without := [])"]
    for argument in node.expressions:
        name = argument.this.name.lower() if isinstance(argument, exp.PropertyEQ) else ""
        value = argument.expression if name else argument
        if name in values or name not in ("distinct_terms", "window", "instant", "without"):
            _refuse(argument, "blocklist_flag has no such parameter", where, usage)
        if name in ("distinct_terms", "window") and isinstance(value, exp.Literal) and value.is_int:
            values[name] = int(value.name)
        elif name == "window" and isinstance(value, exp.Null):
            values[name] = None
        elif name == "instant" and isinstance(value, exp.Boolean):
            values[name] = bool(value.this)
        elif name == "without" and isinstance(value, exp.Array) and all(_is_text(v) for v in value.expressions):
            values[name] = tuple(v.name for v in value.expressions)
        else:
            _refuse(argument, f"{name} cannot have this value", where, usage)
    if values.get("distinct_terms", 2) < 1:
        _refuse(node, "distinct_terms counts from 1", where, usage)
    values["without"] = tuple(sorted({*values.get("without", ()), *also_without}))
    return FlagCall(**values)


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and node.is_string
