"""Queries of any shape over tables whose columns' types are known, for the classes of reads.py.

Each has one right answer, whatever the order in which rows are found and added up. So LIMIT and what is collected stand
behind an order that is total, and where equal values may be written in two ways only what they share is shown."""

from differential.generator import Text
from differential.world import CITIES, NAMES, WORDS

# Tables by name: the key that makes a row unique, and columns by kind. Kinds are types, but for what needs care.
TABLES = {
    "items": (["id"], {
        "bigint": ["id", "parent"], "big": ["big"], "int": ["n"], "smallint": ["small"], "numeric": ["price", "amount"],
        "digits": ["digits"], "text": ["kind", "label", "owner"], "dictionary": ["word"], "char": ["code"], "citext": ["nick"],
        "mood": ["mood"], "float8": ["f"], "wild": ["wild"], "real": ["r"], "bool": ["ok"], "date": ["day"],
        "timestamp": ["at"], "timestamptz": ["seen"], "time": ["hour"], "interval": ["span"], "uuid": ["tag"],
        "bytea": ["raw"], "array": ["tags"], "json": ["doc"], "bits": ["mask"]}),
    "events": (["item_id", "no"], {
        "bigint": ["item_id"], "int": ["no", "n"], "text": ["kind", "who"], "numeric": ["price"], "float8": ["f"],
        "timestamp": ["at"]}),
    "voids": (["id"], {"bigint": ["id"], "text": ["kind"], "int": ["n"], "numeric": ["price"]}),
    "people": (["name"], {
        "text": ["name", "city", "boss"], "mood": ["mood"], "citext": ["nick"], "int": ["age"], "bigint": ["item"],
        "date": ["joined"], "numeric": ["pay"]}),
    "visits": (["day", "no"], {
        "date": ["day"], "int": ["no", "minutes"], "text": ["who"], "bigint": ["item"], "numeric": ["spent"]}),
    "grades": (["mood"], {"mood": ["mood"], "text": ["title"], "numeric": ["weight"]}),
    "cities": (["name"], {"text": ["name", "country"], "int": ["inhabitants"]}),
    "readings": (["sensor", "day"], {"bigint": ["sensor"], "date": ["day"], "numeric": ["value"], "text": ["who"]}),
    "blog.items": (["owner"], {"text": ["owner", "kind"], "bigint": ["id"]}),
    '"Odd ones"': (['"Key"'], {
        "text": ['"Key"', '"sélect"'], "int": ['"group"', "doubled", "positive"], "numeric": ['"a ""b"" c"'], "inet": ["net"],
        "range": ["spread"], "money": ["dollars"], "timetz": ["clock"]}),
    "users": (["id"], {
        "bigint": ["id"], "int": ["score", "level"], "smallint": ["small"], "text": ["name", "nick", "country"],
        "bool": ["active"], "timestamp": ["seen"], "timestamptz": ["noted"], "uuid": ["tag"]}),
    "posts": (["user_id", "id"], {"bigint": ["user_id"], "int": ["id", "likes"], "text": ["body"]}),
}
# The keys rows are spread by, with their kinds.
SHARD_KEYS = {"items": ("id", "bigint"), "events": ("item_id", "bigint"), "voids": ("id", "bigint"), "people": ("name", "text"),
              "visits": ("day", "date"), "readings": ("sensor", "bigint"), "blog.items": ("owner", "text"),
              '"Odd ones"': ('"Key"', "text"), "users": ("id", "bigint"), "posts": ("user_id", "bigint")}
SHARDED = list(SHARD_KEYS)
LETTERS = {"items": "i", "events": "e", "voids": "x", "people": "p", "visits": "v", "grades": "g", "cities": "c", "users": "u",
           "posts": "o", "readings": "r", "blog.items": "b", '"Odd ones"': "d"}
# What tables are joined by; {a} and {b} are their aliases. Few are shard keys of both.
LINKS = [
    ("items", "events", "{a}.id = {b}.item_id"), ("items", "events", "{a}.kind = {b}.kind"), ("items", "events", "{a}.n = {b}.n"),
    ("items", "people", "{a}.owner = {b}.name"), ("items", "people", "{b}.item = {a}.id"), ("items", "people", "{a}.mood = {b}.mood"),
    ("items", "people", "{a}.nick = {b}.nick"), ("items", "items", "{a}.parent = {b}.id"), ("items", "items", "{a}.day = {b}.day + 1"),
    ("items", "items", "{a}.kind = {b}.kind AND {a}.id < {b}.id"), ("items", "items", "{a}.word = {b}.word"),
    ("items", "items", "{a}.id = {b}.id"), ("events", "people", "{a}.who = {b}.name"), ("events", "events", "{a}.n = {b}.no AND {a}.kind = {b}.kind"),
    ("visits", "people", "{a}.who = {b}.name"), ("visits", "items", "{a}.item = {b}.id"), ("visits", "items", "{a}.day = {b}.day"),
    ("people", "people", "{a}.boss = {b}.name"), ("people", "people", "{a}.city = {b}.city"), ("items", "grades", "{a}.mood = {b}.mood"),
    ("people", "grades", "{a}.mood = {b}.mood"), ("people", "cities", "{a}.city = {b}.name"), ("people", "cities", "lower({a}.city) = lower({b}.name)"),
    ("users", "posts", "{a}.id = {b}.user_id"), ("users", "items", "{a}.id = {b}.id"), ("users", "items", "{a}.score = {b}.n"),
    ("posts", "events", "{a}.user_id = {b}.item_id AND {a}.id = {b}.no"), ("posts", "users", "{a}.likes = {b}.score"),
    ("readings", "items", "{a}.sensor = {b}.id"), ("readings", "visits", "{a}.day = {b}.day"), ("readings", "people", "{a}.who = {b}.name"),
    ("blog.items", "items", "{a}.id = {b}.id"), ("blog.items", "items", "{a}.kind = {b}.kind"), ("blog.items", "people", "{a}.owner = {b}.name"),
    ('"Odd ones"', "people", '{a}."Key" = {b}.name'), ('"Odd ones"', "items", '{a}."group" = {b}.n'), ('"Odd ones"', "blog.items", '{a}."Key" = {b}.kind'),
    ("voids", "items", "{a}.id = {b}.id"), ("voids", "people", "{a}.kind = {b}.name"), ("items", "voids", "{a}.n = {b}.n"),
]
QUOTED = "%''%"
# Equal values of these may be written in two ways.
AMBIGUOUS = ("citext",)
# Those with min() and max().
COMPARED = ["bigint", "big", "int", "smallint", "numeric", "digits", "text", "dictionary", "char", "mood", "float8", "wild", "real",
            "date", "timestamp", "timestamptz", "time", "interval", "array", "inet", "money", "timetz"]
WHOLE_NUMBERS = ["int", "smallint", "bigint"]
SAFE_TO_ADD = ["int", "smallint", "bigint", "big", "numeric", "digits", "float8", "real", "wild", "interval"]
GROUPED = ["int", "smallint", "numeric", "text", "text", "dictionary", "char", "mood", "mood", "real", "bool", "date", "time", "uuid",
           "array", "json", "bits", "bigint", "inet", "range", "money", "timetz", "float8", "interval", "timestamp", "timestamptz"]
COLLATIONS = ['"C"', '"POSIX"', '"C.utf8"', '"ucs_basic"', '"de-x-icu"', '"sv-x-icu"', '"en-US-x-icu"', '"und-x-icu"', "folded",
              '"default"', 'pg_catalog."C"']


class Source:
    """What stands behind FROM, and in `prefix` before SELECT; `keys` make its rows unique."""

    def __init__(self, text, columns, keys, tables=(), prefix=""):
        self.text, self.columns, self.keys, self.tables, self.prefix = text, columns, keys, tables, prefix


def table(name, alias=None, qualified=True):
    keys, columns = TABLES[name]
    before = f"{alias or name}." if qualified else ""
    return Source(f"{name} {alias}" if alias else name,
                  {kind: [before + column for column in some] for kind, some in columns.items()},
                  [before + key for key in keys], [(alias or name, name)])


def both(one, other, text):
    columns = {kind: one.columns.get(kind, []) + other.columns.get(kind, []) for kind in {**one.columns, **other.columns}}
    return Source(text, columns, one.keys + other.keys, [*one.tables, *other.tables])


class Writer:
    """Writes parts of one SELECT over a source. Several may write one text, inner queries with their outer."""

    def __init__(self, choose, source, text=None, outer=None):
        self.choose, self.source, self.outer = choose, source, outer
        self.text = text or Text()

    # Values

    def constant(self, kind):
        """A parameter, or now and then a literal."""
        choose = self.choose
        made = str({
            "bigint": lambda: choose.number(1, 44), "int": choose.number, "smallint": choose.number,
            "numeric": lambda: choose.some("0.25", "5.00", "2", "NaN", "-1.25", "Infinity"),
            "float8": lambda: choose.some("0.5", "-0.25", "1"), "text": lambda: choose.some(*WORDS, *NAMES, *CITIES),
            "mood": lambda: choose.some("sad", "ok", "Happy", "angry", "Élan"), "citext": lambda: choose.some("bob", "ANNA", "zed"),
            "date": lambda: f"2024-01-{choose.number(1, 24):02}", "bool": lambda: choose.some("t", "f"),
            "timestamp": lambda: f"2024-01-{choose.number(1, 18):02} 12:00",
            "timestamptz": lambda: f"2024-03-{choose.number(29, 31)} 12:00+02"}[kind]()).replace("''", "'")
        if choose.chance(0.6):
            return self.text.value(made, {"int": "integer"}.get(kind, kind))
        plain = made if kind in ("int", "bigint", "smallint") or kind == "numeric" and made[-1].isdigit() else None
        quoted = "'" + made.replace("'", "''") + "'"
        return plain or quoted + {"text": "", "numeric": "::numeric", "float8": "::float8"}.get(kind, choose.some("", f"::{kind}"))

    def column(self, *kinds):
        """One of these kinds, or of any; None if there is none."""
        found = [column for kind in kinds or self.source.columns for column in self.source.columns.get(kind, [])]
        return self.choose.some(*found) if found else None

    def kinds(self, *wanted):
        return [kind for kind in wanted or self.source.columns if self.source.columns.get(kind)]

    def integer(self):
        column = self.column(*WHOLE_NUMBERS)
        if not column:
            return f"length({self.words()})"
        return self.choose.some(
            lambda: column, lambda: column, lambda: column, lambda: f"({column} + {self.constant('int')})", lambda: f"{column} % 3",
            lambda: f"abs({column})", lambda: f"coalesce({column}, 0)", lambda: f"nullif({column}, 2)", lambda: f"({column} * 2)",
            lambda: f"CASE WHEN {self.condition()} THEN {column} END", lambda: f"length({self.words()})",
            lambda: f"(- {column})", lambda: f"greatest({column}, 1)")()

    def words(self):
        column = self.column("text")
        if not column:
            return f"{self.column()}::text"
        return self.choose.some(
            lambda: column, lambda: column, lambda: column, lambda: f"lower({column})", lambda: f"upper({column})",
            lambda: f"{column} || 'x'", lambda: f"left({column}, 1)", lambda: f"coalesce({column}, 'none')",
            lambda: f"CASE WHEN {self.condition()} THEN 'yes' ELSE {column} END",
            lambda: f"{self.column(*self.kinds('mood', 'bool', 'char', 'uuid', 'text'))}::text")()

    def number(self):
        """Of a type whose equal values are written alike, and whose sums are exact."""
        kinds = self.kinds("numeric", "float8", "real")
        if not kinds or self.choose.chance(0.3):
            return self.integer()
        column = self.column(self.choose.some(*kinds))
        return self.choose.some(column, column, f"({column} * 2)", f"coalesce({column}, 0.25)", f"({column} + 1)")

    def expression(self, kind):
        """Something that equal values of look the same."""
        choose = self.choose
        return {
            "int": self.integer, "smallint": self.integer, "bigint": self.integer, "text": self.words, "numeric": self.number,
            "bool": lambda: choose.some(self.column("bool"), f"({self.condition()})"),
            "date": lambda: choose.some("{0}", "{0}", "({0} + 1)", "date_trunc('month', {0})", "extract(year FROM {0})").format(self.column("date")),
            "timestamp": lambda: choose.some("{0}", "{0}::date", "date_trunc('day', {0})").format(self.column("timestamp")),
            "timestamptz": lambda: choose.some("{0}", "date_trunc('day', {0})", "extract(hour FROM {0})").format(self.column("timestamptz")),
            "json": lambda: choose.some("{0}", "{0} ->> 'w'", "{0} -> 'n'", "({0} ->> 'n')::int").format(self.column("json")),
            "array": lambda: choose.some("{0}", "{0}[1]", "cardinality({0})").format(self.column("array")),
        }.get(kind, lambda: self.column(kind))()

    def anything(self):
        return self.expression(self.choose.some(*[kind for kind in self.kinds() if kind not in AMBIGUOUS]))

    # Conditions

    def condition(self, depth=1):
        choose = self.choose
        if depth and choose.chance(0.3):
            parts = self.condition(depth - 1), self.condition(depth - 1)
            return choose.some("{} AND {}", "({} OR {})", "NOT ({} AND {})", "({} AND NOT {})", "({}) IS NOT TRUE AND {}").format(*parts)
        keyed = [(alias, *SHARD_KEYS[name]) for alias, name in self.source.tables if name in SHARD_KEYS]
        if keyed and choose.chance(0.15):
            alias, key, kind = choose.some(*keyed)
            key = key if key in self.source.keys else f"{alias}.{key}"
            return choose.some(
                lambda: f"{key} = {self.constant(kind)}", lambda: f"{key} IN ({self.constant(kind)}, {self.constant(kind)})",
                lambda: f"{key} <> {self.constant(kind)}", lambda: f"{key} >= {self.constant(kind)}",
                lambda: f"({key} = {self.constant(kind)} OR {key} = {self.constant(kind)})")()
        kind = choose.some(*self.kinds())
        column, constant = self.column(kind), lambda: self.constant(kind)  # noqa: E731
        compared = choose.some("<", "<=", "=", "<>", "<>", ">=", ">")
        if kind in ("inet", "range", "money", "timetz") or choose.chance(0.15):
            return choose.some(f"{column} IS NULL", f"{column} IS NOT NULL", f"{column} IS NOT NULL")
        return {
            "text": lambda: choose.some(
                lambda: f"{column} {compared} {constant()}", lambda: f"{column} LIKE '{choose.some('a%', '%b', '_', 'Z%', QUOTED)}'",
                lambda: f"{column} IN ({constant()}, {constant()}, {constant()})", lambda: f"{column} ILIKE 'é%'",
                lambda: f"{column} BETWEEN 'A' AND 'e'", lambda: f"{column} COLLATE {choose.some(*COLLATIONS)} {compared} {constant()}",
                lambda: f"{column} ~ '^[a-z]'", lambda: f"lower({column}) = 'a'")(),
            "dictionary": lambda: f"{column} {compared} {choose.some(chr(39) + 'e' + chr(39), self.constant('text'))}",
            "char": lambda: f"{column} {compared} {choose.some(chr(39) + 'a' + chr(39), chr(39) + 'A  ' + chr(39))}",
            "bool": lambda: choose.some(f"{column}", f"NOT {column}", f"{column} IS NOT TRUE", f"{column} IS UNKNOWN"),
            "array": lambda: choose.some(f"'t1' = ANY ({column})", f"{column} @> ARRAY['t2']", f"cardinality({column}) > 2"),
            "json": lambda: choose.some(f"{column} ->> 'w' = 'w1'", f"({column} ->> 'n')::int > 1", f"{column} @> '{{\"n\": 2}}'"),
            "wild": lambda: f"{column} {compared} {choose.some('1', chr(39) + 'NaN' + chr(39))}",
            "real": lambda: f"{column} {compared} 1", "time": lambda: f"{column} {compared} '10:00'",
            "interval": lambda: f"{column} {compared} '3 days'", "digits": lambda: f"{column} {compared} 20",
            "big": lambda: f"{column} {compared} 9000000000000000000", "bytea": lambda: f"length({column}) {compared} 2",
            "uuid": lambda: f"{column} {compared} '00000000-0000-4000-8000-000000000008'", "bits": lambda: f"{column} & B'0101' <> B'0000'",
        }.get(kind, lambda: choose.some(
            lambda: f"{column} {compared} {constant()}", lambda: f"{column} {compared} {constant()}",
            lambda: f"{column} BETWEEN {constant()} AND {constant()}", lambda: f"{column} NOT IN ({constant()}, {constant()})",
            lambda: f"{column} IN ({constant()}, {constant()})", lambda: f"{column} = ANY (ARRAY[{constant()}, {constant()}]::{'integer' if kind == 'int' else kind}[])",
            lambda: f"{column} IS DISTINCT FROM {constant()}", lambda: f"coalesce({column} = {constant()}, true)")())()

    def where(self, probability=0.5):
        return f" WHERE {self.condition()}" if self.choose.chance(probability) else ""

    # Orders and windows

    def direction(self):
        return self.choose.some("", "", " ASC", " DESC", " NULLS FIRST", " DESC NULLS LAST")

    def total(self, count=None):
        """A total order: some expressions, then the keys."""
        count = self.choose.number(0, 2) if count is None else count
        parts = [choose_order(self) + self.direction() for _ in range(count)]
        keys = self.choose.random.sample(self.source.keys, len(self.source.keys))
        return ", ".join([*parts, *(key + self.choose.some("", "", " DESC") for key in keys)])

    def order(self):
        return f" ORDER BY {self.total()}"

    def limit(self, probability=0.5):
        limit = self.choose.window(self.text) if self.choose.chance(probability) else ""
        return limit if "LIMIT 0" not in limit or self.choose.chance(0.2) else ""

    def select(self, targets):
        return f"{self.source.prefix}SELECT {targets} FROM {self.source.text}"

    # Aggregates

    def filtered(self, made, probability=0.2):
        return made + (f" FILTER (WHERE {self.condition()})" if self.choose.chance(probability) else "")

    def aggregate(self):
        """Any; how it is written does not depend on the order of rows."""
        choose = self.choose
        return choose.some(
            self.amount, self.amount, self.extreme, self.extreme, self.logic, self.deviation, self.collected, self.of_sorted)()

    def amount(self):
        """An aggregate that is a number."""
        choose = self.choose
        kinds = self.kinds("bigint", "int", "smallint", "numeric", "float8", "real")
        number = self.column(choose.some(*kinds)) if kinds else "1"
        return self.filtered(choose.some(
            lambda: "count(*)", lambda: f"count({self.column()})", lambda: f"count(DISTINCT {self.column()})",
            lambda: f"sum({number})", lambda: f"sum({number})", lambda: f"avg({number})", lambda: f"sum({self.integer()})",
            lambda: f"avg({self.number()})", lambda: f"{choose.some('sum', 'avg')}(DISTINCT {number})",
            lambda: f"{choose.some('min', 'max')}({number})", lambda: f"sum({self.column(*self.kinds('big', 'digits', 'numeric') or ['int'])})",
            lambda: f"max({self.number()} + 1)", lambda: f"sum(CASE WHEN {self.condition()} THEN 1 ELSE 0 END)", lambda: "sum(1)")())

    def extreme(self):
        choose = self.choose
        kinds = self.kinds(*COMPARED)
        if self.kinds("citext") and choose.chance(0.1):
            return f"lower({choose.some('min', 'max')}({self.column('citext')}))"
        if self.kinds("interval", "wild") and choose.chance(0.15):
            return f"{choose.some('sum', 'avg')}({self.column('interval', 'wild')})"
        column = self.column(choose.some(*kinds))
        return self.filtered(f"{choose.some('min', 'max', 'min', 'max', 'count')}({choose.some('', '', 'DISTINCT ', 'ALL ')}{column})")

    def logic(self):
        choose = self.choose
        kinds = self.kinds(*WHOLE_NUMBERS, "bits")
        return self.filtered(choose.some(
            lambda: f"{choose.some('bool_and', 'bool_or', 'every')}({self.condition()})",
            lambda: f"{choose.some('bit_and', 'bit_or', 'bit_xor')}({self.column(choose.some(*kinds)) if kinds else '5'})")())

    def deviation(self):
        choose = self.choose
        name = choose.some("stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp")
        exact = self.kinds("int", "smallint", "numeric", "bigint")
        if exact and choose.chance(0.7):
            return self.filtered(f"{name}({choose.some('', '', '', 'DISTINCT ')}{self.column(choose.some(*exact))})")
        number = self.integer()
        made = choose.some(f"{name}(({number})::float8)", f"corr({number}, {self.integer()})", f"covar_pop({number}, {self.integer()})",
                           f"regr_slope({number}, {self.integer()})", f"regr_count({number}, {self.integer()})")
        # In doubles the last digits depend on the order.
        return f"round(({self.filtered(made)})::numeric, 6)"

    def collected(self):
        choose = self.choose
        total = self.total(choose.some(0, 0, 1))
        column = self.column(*self.kinds("int", "bigint", "smallint", "numeric", "text", "date", "float8"))
        kept = self.column(*self.kinds("int", "bigint", "numeric", "text", "date", "json"))
        return self.filtered(choose.some(
            f"array_agg({column} ORDER BY {column}{choose.some('', ' DESC', ' NULLS FIRST')})", f"array_agg({column} ORDER BY {total})",
            f"array_agg(DISTINCT {column} ORDER BY {column})", f"string_agg({self.words()}, ',' ORDER BY {total})",
            f"string_agg(DISTINCT {column}::text, '|' ORDER BY {column}::text)", f"json_agg({kept} ORDER BY {total})",
            f"jsonb_agg({kept} ORDER BY {total})", f"json_agg(json_build_object('a', {kept}, 'b', {column}) ORDER BY {total})",
            f"jsonb_object_agg(coalesce({column}::text, ''), {kept} ORDER BY {total})",
            f"json_object_agg(coalesce({column}::text, ''), {kept} ORDER BY {total})"))

    def of_sorted(self):
        """Ordered-set aggregates."""
        choose = self.choose
        numbers = self.kinds("int", "smallint", "float8", "interval")
        number = self.column(choose.some(*numbers)) if numbers else "1"
        any_kind = self.column(*self.kinds("int", "text", "date", "mood", "numeric", "timestamp", "dictionary", "char"))
        direction = choose.some("", " DESC")
        return self.filtered(choose.some(
            f"percentile_cont({choose.some('0.5', '0', '0.25')}) WITHIN GROUP (ORDER BY {number}{direction})",
            f"percentile_cont(ARRAY[0.25, 0.5, 1]) WITHIN GROUP (ORDER BY {number}{direction})",
            f"percentile_disc({choose.some('0.5', '0.3', '1')}) WITHIN GROUP (ORDER BY {any_kind}{direction})",
            f"mode() WITHIN GROUP (ORDER BY {any_kind}{direction})",
            f"{choose.some('rank', 'dense_rank', 'percent_rank', 'cume_dist')}(3) WITHIN GROUP (ORDER BY {number if 'interval' not in numbers else 1}{direction})"),
            0.1)

    def over_aggregates(self):
        choose = self.choose
        one, other = self.amount(), self.amount()
        return choose.some(
            lambda: f"coalesce({one}, 0) + 1", lambda: f"{one} * 2 - {other}", lambda: f"{one} / nullif({other}, 0)",
            lambda: f"round(({one})::numeric, 2)", lambda: f"CASE WHEN {one} > {other} THEN 'more' ELSE 'less' END",
            lambda: f"{one} IS NULL", lambda: f"greatest({one}, {other})", lambda: f"({one})::text || '!'", lambda: f"(SELECT {one})",
            lambda: f"{one} > {self.constant('int')}", lambda: f"coalesce(max({self.column('text') or 1}), '7')", lambda: f"ARRAY[{one}, {other}]",
            lambda: f"nullif({one}, {other})", lambda: f"{one} BETWEEN 1 AND 9", lambda: f"- ({one})", lambda: f"length({self.collected()}::text)",
            lambda: f"jsonb_build_object('x', {one}, 'y', {self.aggregate()})", lambda: f"{one} IN ({other}, 3, 5)")()

    def grouping(self):
        """(what is grouped by, what is shown of it)"""
        choose = self.choose
        if self.kinds("citext") and choose.chance(0.08):
            column = self.column("citext")
            return column, f"lower({column})"
        if self.kinds("text") and choose.chance(0.08):
            column = f"{self.column('text')} COLLATE {choose.some(*COLLATIONS)}"
            return column, f"upper({column})"
        made = self.expression(choose.some(*self.kinds(*GROUPED)))
        return made, made

    def grouped(self, sets=True):
        """SELECT ... GROUP BY with all that may follow: (sql, ordered)."""
        choose = self.choose
        where = self.where()
        groups = list(dict.fromkeys(self.grouping() for _ in range(choose.some(0, 0, 1, 1, 1, 1, 2, 2, 3))))
        targets, by = [], []  # (text, alias), and how GROUP BY names each group
        if choose.chance(0.1) and len(groups) == 1:
            # The alias of one column is the name of another.
            targets.append((groups[0][1], self.column().split(".")[-1]))
            by.append(choose.some(groups[0][0], targets[0][1]))
        else:
            for number, (group, shown) in enumerate(groups):
                form = choose.some("text", "text", "ordinal", "alias", "hidden")
                if form == "text" or form in ("ordinal", "alias") and shown == group:
                    # A cast is called like its column, which ORDER BY would no longer mean.
                    called = f"t{number}" if "::" in shown else choose.some(None, None, f"t{number}")
                    targets.append((shown, f"g{number}" if form == "alias" else called))
                by.append({"ordinal": str(len(targets)), "alias": f"g{number}"}.get(form, group) if shown == group else group)
        for number in range(choose.some(1, 1, 2, 2, 3) if targets or choose.chance(0.97) else 0):
            made = self.over_aggregates() if choose.chance(0.3) else self.aggregate()
            # Behind the others, whose ordinals are known.
            targets.append((made, choose.some(None, None, f"a{number}")))
        clause, bits = "", []
        if groups:
            clause = " GROUP BY " + ", ".join(by)
            if sets and len(groups) > 1 and choose.chance(0.3) or sets and choose.chance(0.05):
                by = [group for group, _ in groups]
                clause = " GROUP BY " + choose.some(
                    lambda: f"ROLLUP ({', '.join(by)})", lambda: f"CUBE ({', '.join(by)})", lambda: f"GROUPING SETS (({', '.join(by)}), ({by[0]}), ())",
                    lambda: f"GROUPING SETS ({', '.join(by)})", lambda: ", ".join([by[0], *(f"ROLLUP ({each})" for each in by[1:])]))()
                bits = [f"grouping({', '.join(by)})"]
                if choose.chance(0.5):
                    targets.append((bits[0], None))
        having = choose.some(
            lambda: f"{self.amount()} > {self.constant('int')}", lambda: f"count(*) {choose.some('>', '<=')} {choose.number(1, 4)}",
            lambda: f"({self.over_aggregates()}) IS NOT NULL", lambda: f"bool_or({self.condition()})",
            lambda: f"count(*) > 1 AND {groups[0][0]} IS NOT NULL" if groups else "count(*) > 0")() if choose.chance(0.25) else ""
        sql = self.select(", ".join(text + (f" AS {alias}" if alias else "") for text, alias in targets)) + where + clause
        sql += f" HAVING {having}" if having else ""
        # GROUP BY the name of a column and of an alias means the column: its groups may look the same.
        if groups and (targets and clause == f" GROUP BY {targets[0][1]}" or choose.chance(0.3)):
            return sql, False
        parts = []
        for _ in range(choose.some(0, 1, 1, 2)):
            alone = [alias for text, alias in targets if alias and alias[0] in "ga" and alias[1:].isdigit()]
            parts.append(choose.some(
                lambda: str(choose.number(1, len(targets))) if targets else "1", lambda: self.amount(), lambda: self.extreme(),
                lambda: choose.some(*alone) if alone else "count(*)", lambda: f"{self.over_aggregates()}")() + self.direction())
        parts += bits + [group + choose.some("", "", " DESC NULLS LAST") for group, _ in groups]
        return sql + (" ORDER BY " + ", ".join(parts) if parts else "") + self.limit(), True

    # Windows

    def windowed(self, name=None):
        """A window function over a window, or over the one of that name."""
        choose = self.choose
        partition = choose.some(
            lambda: "", lambda: f"PARTITION BY {self.expression(choose.some(*self.kinds('text', 'int', 'mood', 'bool', 'date')))}",
            lambda: f"PARTITION BY {self.column()}", lambda: f"PARTITION BY {choose.some(*self.source.keys)}",
            lambda: f"PARTITION BY {self.anything()}, {self.anything()}")()
        total = f"ORDER BY {self.total()}"
        loose = f"ORDER BY {choose_order(self)}{self.direction()}"
        column = self.column(*[kind for kind in self.kinds() if kind not in AMBIGUOUS])
        number = self.column(*self.kinds(*WHOLE_NUMBERS, "numeric", "float8")) or "1"
        rows = choose.some("ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", "ROWS UNBOUNDED PRECEDING", "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
                           "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW", f"ROWS {self.constant('int')} PRECEDING",
                           "GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW", "RANGE UNBOUNDED PRECEDING", "")
        peers = choose.some("", "", "RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING", "GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
                            "GROUPS 2 PRECEDING", "RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING")
        adding = choose.some(f"{choose.some('sum', 'avg', 'max', 'min')}({number})", "count(*)", f"count({column})",
                             self.filtered(f"sum({number})", 0.5), f"bool_or({self.condition()})")
        by_rank = choose.some("rank()", "dense_rank()", "percent_rank()", "cume_dist()")
        by_place = choose.some("row_number()", "ntile(3)", f"lag({column})", f"lead({column}, 2)", f"first_value({column})",
                               f"lag({number}, 1, NULL)", f"last_value({column})", f"nth_value({column}, 2)")
        if name:
            return f"{choose.some(by_rank, by_place, adding)} OVER {name}"
        return choose.some(
            lambda: f"{by_rank} OVER ({partition} {loose})", lambda: f"{by_place} OVER ({partition} {total} {rows if 'value' in by_place else ''})",
            lambda: f"{adding} OVER ({partition} {total} {rows})", lambda: f"{adding} OVER ({partition} {loose} {peers})",
            lambda: f"{adding} OVER ({partition})", lambda: "count(*) OVER ()",
            lambda: f"sum({number}) OVER (ORDER BY {self.column(*self.kinds('int', 'bigint')) or number} RANGE BETWEEN 2 PRECEDING AND 1 FOLLOWING)",
            lambda: f"array_agg({self.column(*self.kinds('int', 'text', 'bigint', 'numeric'))}) OVER ({partition} {total} {rows})")()


def choose_order(writer):
    """Something to sort by."""
    choose = writer.choose
    if writer.kinds("text") and choose.chance(0.2):
        return f"{writer.column('text')} COLLATE {choose.some(*COLLATIONS)}"
    return choose.some(writer.column, writer.anything)()


# --- sources --------------------------------------------------------------------------------------


def one_table(choose, *names):
    name = choose.some(*names or ("items", "items", "items", "items", "items", "events", "events", "people", "people", "visits",
                                  "visits", "readings", "blog.items", '"Odd ones"', "users", "posts", "voids"))
    return choose.some(table(name, qualified=False), table(name), table(name, LETTERS[name]), table(name, LETTERS[name], False))


def linked(choose, name, alias, link=None):
    """A table to join with `alias`, a table of that name: (source, condition)."""
    one, other, condition = link or choose.some(*[each for each in LINKS if name in each[:2]])
    swapped = name != one or one == other and choose.chance(0.5)
    joined = one if swapped else other
    letter = LETTERS[joined] + "2" if LETTERS[joined] == alias[:1] else LETTERS[joined]
    a, b = (letter, alias) if swapped else (alias, letter)
    return table(joined, letter), condition.format(a=a, b=b)


def joined_tables(choose, text, count=None):
    """A source of two or three tables; most pairs live in different keyspaces."""
    first, second, condition = choose.some(*LINKS)
    one = table(first, LETTERS[first])
    other, condition = linked(choose, first, LETTERS[first], (first, second, condition))
    source = join(choose, text, one, other, condition)
    if count == 3 or count is None and choose.chance(0.25):
        alias, name = choose.some(*source.tables)
        third, condition = linked(choose, name, alias)
        if not any(alias == taken for alias, _ in third.tables for taken, _ in source.tables):
            source = join(choose, text, source, third, condition)
    return source


def join(choose, text, one, other, condition):
    if choose.chance(0.25):
        # Conditions of ON say nothing of rows that an outer join keeps.
        condition += f" AND {Writer(choose, choose.some(one, other), text).condition(0)}"
    if choose.chance(0.1):
        return both(one, other, f"{one.text} CROSS JOIN LATERAL (SELECT * FROM {other.text} WHERE {condition}) {other.tables[0][0]}")
    kind = choose.some("JOIN", "INNER JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
    if choose.chance(0.3) and len(one.tables) == 1:
        one, other = other, one
    return both(one, other, f"{one.text} {kind} {other.text} ON {condition}")


def derived(choose, text):
    """A subquery in FROM, or a WITH query."""
    inner = Writer(choose, one_table(choose, "items", "events", "people", "visits"), text)
    word, number = inner.words(), inner.integer()
    price = inner.column("numeric")
    where = inner.where()
    names = {"text": ["x.word"], "int": ["x.number"], "numeric": ["x.price"]}
    made = choose.some(
        lambda: (f"SELECT {word} AS word, count(*) AS number, sum({price}) AS price FROM {inner.source.text}{where} GROUP BY 1", names, ["x.word"]),
        lambda: (f"SELECT DISTINCT {word} AS word, {number} AS number, {price} AS price FROM {inner.source.text}{where}", names,
                 ["x.word", "x.number", "x.price"]),
        lambda: (f"SELECT {word} AS word, {number} AS number, {price} AS price FROM {inner.source.text}{where} ORDER BY {inner.total()} LIMIT "
                 f"{inner.constant('int') if choose.chance(0.2) else 7}", names, None),
        lambda: (f"SELECT {word} AS word, row_number() OVER (ORDER BY {inner.total()}) AS number, {price} AS price FROM {inner.source.text}{where}",
                 names, ["x.number"]),
        lambda: ("SELECT kind AS word, n AS number, price FROM events UNION ALL SELECT who, minutes, spent FROM visits", names, None),
        lambda: ("SELECT owner AS word, n AS number, amount AS price FROM items UNION SELECT name, age, pay FROM people", names,
                 ["x.word", "x.number", "x.price"]),
        lambda: ("VALUES ('a', 1, 1.25), ('B', 2, NULL), (NULL, NULL, 3.00)", names, ["x.word"]))()
    sql, columns, keys = made
    header = " (word, number, price)" if sql.startswith("VALUES") else ""
    # Rows that are alike in all of these are alike.
    keys = keys or [each for some in columns.values() for each in some]
    if choose.chance(0.4):
        name = choose.some("WITH x", "WITH x", "WITH x", "WITH RECURSIVE x")
        return Source("x", columns, keys, prefix=f"{name}{header} AS {choose.some('', '', 'MATERIALIZED ', 'NOT MATERIALIZED ')}({sql}) ")
    return Source(f"({sql}) x{header}", columns, keys)


def any_source(choose, text):
    return choose.some(lambda: one_table(choose), lambda: one_table(choose), lambda: one_table(choose), lambda: joined_tables(choose, text),
                       lambda: derived(choose, text))()


def writer_of(choose, make=any_source, **options):
    text = Text()
    return Writer(choose, make(choose, text, **options), text)
