"""Writes TOML. Python reads it (tomllib) but does not write it."""


def to_toml(table):
    """The text of a table: dict, list, str, int, float and bool, nested at will."""
    return "".join(_lines(table, ()))


def _lines(table, path):
    tables = {}
    for key, value in table.items():
        if isinstance(value, dict) or _is_array_of_tables(value):
            tables[key] = value
        elif value is not None:
            yield f"{_key(key)} = {_value(value)}\n"
    for key, value in tables.items():
        name = ".".join(_key(part) for part in (*path, key))
        for item in value if isinstance(value, list) else [value]:
            yield f"\n[[{name}]]\n" if isinstance(value, list) else f"\n[{name}]\n"
            yield from _lines(item, (*path, key))


def _is_array_of_tables(value):
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _key(key):
    plain = key and all(c.isascii() and (c.isalnum() or c in "-_") for c in key)
    return key if plain else _value(key)


def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " else f"\\u{ord(c):04x}" for c in text) + '"'
