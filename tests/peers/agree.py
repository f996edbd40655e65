"""Random as-of joins, and what other tools make of them.

    agree.py make DIR CASES     writes DIR/<case>/{spine,history}.parquet
    agree.py check DIR CASES    joins each with every tool and compares with DIR/<case>/train.parquet, row by row

Times fall into so few instants that most rows of the spine are at the very time of a row of history, or a tick beside it.
"""

import datetime
import json
import random
import sys

import pyarrow as pa
import pyarrow.parquet as parquet

UNITS = ["s", "ms", "us", "ns"]
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
TTL_TICKS = 5
KEYS = 12
TICKS = 60


def make(directory, case):
    random.seed(case)
    unit = UNITS[case % len(UNITS)]
    time = pa.timestamp(unit, tz="UTC")
    ticks = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[unit]
    start = int(START.timestamp()) * ticks
    # A tick is a second, as the TTL is in all tools.
    at = lambda tick: start + tick * ticks
    key = (lambda: f"user-{random.randrange(KEYS)}") if case % 2 else (lambda: random.randrange(-3, KEYS))
    key_type = pa.string() if case % 2 else pa.int64()

    rows = []
    for _ in range(random.choice([0, 1, 300, 900])):
        rows.append((
            key(),
            at(random.randrange(TICKS)),
            random.choice([None, random.randrange(1000)]),
            random.choice([None, random.uniform(-1, 1), -0.0, 1e300]),
            random.choice([None, "", "a", "zwölf"]),
        ))
    # Rows of one entity and one time come in the order of their values, missing ones first, as pandas and polars take the last
    # of the file. Then all rows are in the order of time, as both ask for. A row may be there twice.
    rows += random.sample(rows, len(rows) // 10)
    order = lambda value: (value is not None, value if value is not None else 0)
    rows.sort(key=lambda row: (row[1], row[0], order(row[2]), order(row[3]), (row[4] is not None, (row[4] or "").encode())))
    history = pa.table({
        "user": pa.array([row[0] for row in rows], key_type),
        "t": pa.array([row[1] for row in rows], time),
        "n": pa.array([row[2] for row in rows], pa.int64()),
        "x": pa.array([row[3] for row in rows], pa.float64()),
        "word": pa.array([row[4] for row in rows], pa.string()),
    })
    count = random.choice([1, 500, 1500])
    times = sorted(at(random.randrange(-2, TICKS + 10)) for _ in range(count))
    spine = pa.table({
        "row": pa.array(range(count), pa.int64()),
        "user": pa.array([None if random.random() < 0.05 else key() for _ in times], key_type),
        "t": pa.array(times, time),
    })
    parquet.write_table(history, f"{directory}/history.parquet")
    parquet.write_table(spine, f"{directory}/spine.parquet")


def duckdb_join(directory, ttl):
    import duckdb

    # Of rows of one time it may take any, so it is given the one that the others take.
    sql = f"""
        WITH history AS (
            SELECT * FROM '{directory}/history.parquet'
            QUALIFY row_number() OVER (
                PARTITION BY "user", t ORDER BY n DESC NULLS LAST, x DESC NULLS LAST, encode(word) DESC NULLS LAST
            ) = 1
        ), joined AS (
            SELECT s.row, s.t, h.t AS feature_t, h.n, h.x, h.word
            FROM '{directory}/spine.parquet' s ASOF LEFT JOIN history h ON s."user" = h."user" AND s.t >= h.t
        )
        SELECT row, n, x, word FROM joined WHERE feature_t IS NULL OR {ttl} IS NULL
            OR date_diff('microsecond', feature_t, t) <= {ttl} * 1000000
        UNION ALL SELECT row, NULL, NULL, NULL FROM joined WHERE feature_t IS NOT NULL AND {ttl} IS NOT NULL
            AND date_diff('microsecond', feature_t, t) > {ttl} * 1000000
        ORDER BY row
    """.replace("None", "NULL")
    return duckdb.sql(sql).fetchall()


def polars_join(directory, ttl):
    import polars

    spine = polars.read_parquet(f"{directory}/spine.parquet")
    history = polars.read_parquet(f"{directory}/history.parquet")
    tolerance = None if ttl is None else datetime.timedelta(seconds=ttl)
    joined = spine.join_asof(
        history, on="t", by="user", strategy="backward", tolerance=tolerance, check_sortedness=False
    )
    return joined.sort("row").select("row", "n", "x", "word").rows()


def pandas_join(directory, ttl):
    import pandas

    # Otherwise a column of integers becomes one of floats when a value is missing, and a key no longer fits its own.
    read = lambda name: pandas.read_parquet(f"{directory}/{name}.parquet", dtype_backend="numpy_nullable")
    spine, history = read("spine"), read("history")
    tolerance = None if ttl is None else pandas.Timedelta(seconds=ttl)
    joined = pandas.merge_asof(spine, history, on="t", by="user", tolerance=tolerance).sort_values("row")
    value = lambda value: None if pandas.isna(value) else value
    return [
        (row.row, value(row.n), value(row.x), value(row.word))
        for row in joined.itertuples()
    ]


def bits(value):
    return value.hex() if isinstance(value, float) else value


def differences(ours, theirs):
    if len(ours) != len(theirs):
        return [f"{len(theirs)} rows, not {len(ours)}"]
    same = lambda a, b: [bits(value) for value in a] == [bits(value) for value in b]
    return [f"{theirs[i]}, not {ours[i]}" for i in range(len(ours)) if not same(ours[i], theirs[i])]


def check(directory, case, answer):
    for ttl, name in [(None, "all"), (TTL_TICKS, "recent")]:
        columns = ["row"] + [f"{name}:{feature}" for feature in ["n", "x", "word"]]
        table = parquet.read_table(f"{directory}/train.parquet", columns=columns)
        ours = list(zip(*(table.column(column).to_pylist() for column in columns)))
        answer["rows"] += len(ours)
        answer["present"] += sum(row[3] is not None for row in ours)
        for tool, join in [("duckdb", duckdb_join), ("polars", polars_join), ("pandas", pandas_join)]:
            found = differences(ours, join(directory, ttl))
            answer["differences"][tool] += len(found)
            if found and "first" not in answer:
                answer["first"] = f"case {case}, {name}, {tool}: {found[0]}"


task, directory, cases = sys.argv[1], sys.argv[2], int(sys.argv[3])
answer = {"rows": 0, "present": 0, "differences": {"duckdb": 0, "polars": 0, "pandas": 0}}
for case in range(cases):
    if task == "make":
        make(f"{directory}/{case}", case)
    else:
        check(f"{directory}/{case}", case, answer)
print(json.dumps(answer))
