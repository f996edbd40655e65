"""Windows as of each row by one tool: python peers.py TOOL SPINE EVENTS OUT THREADS, all Parquet. Prints its figures as JSON.

For each row of the spine: count, sum, mean and last amount of its user's events in [t - w, t), for w of 1 h, 24 h, 7 d and 30 d.
No two times are equal, so a frame up to the current row is the same. Each tool does it the fastest way that was found for it,
from files to a file, with the threads it is given; Parquet is written with zstd, level 3. The clock starts when the tool is
imported, which is in its favour.
"""

import json
import os
import resource
import sys
import time

tool, spine, events, out, threads = sys.argv[1:6]
os.environ["POLARS_MAX_THREADS"] = threads

WINDOWS = {"1h": "1 HOUR", "24h": "24 HOURS", "7d": "7 DAYS", "30d": "30 DAYS"}


def duckdb_windows():
    # The rows of both files in one window each: a range join of them gives no result in minutes.
    features = ", ".join(
        f"count(amount) OVER w{w} AS count_{w}, sum(amount) OVER w{w} AS sum_{w}, avg(amount) OVER w{w} AS mean_{w}, "
        f"last_value(amount IGNORE NULLS) OVER w{w} AS last_{w}"
        for w in WINDOWS
    )
    frames = ", ".join(
        f"w{w} AS (PARTITION BY user ORDER BY t RANGE BETWEEN INTERVAL {interval} PRECEDING AND CURRENT ROW)"
        for w, interval in WINDOWS.items()
    )
    names = ", ".join(f"{name}_{w}" for w in WINDOWS for name in ("count", "sum", "mean", "last"))
    connection.execute(f"SET threads = {threads}")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        f"COPY (SELECT row, user, t, {names} FROM (SELECT row, user, t, {features} FROM ("
        f"SELECT user, t, amount, NULL AS row FROM read_parquet('{events}') UNION ALL "
        f"SELECT user, t, NULL, row FROM read_parquet('{spine}')) WINDOW {frames}) WHERE row IS NOT NULL) "
        f"TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)"
    )


def polars_windows():
    # Without `last`, for which it has no rolling form.
    col = polars.col
    both = polars.concat(
        [polars.scan_parquet(events), polars.scan_parquet(spine).select("user", "t", "row")], how="diagonal"
    )
    both = both.sort("user", "t").collect()
    features = []
    for w in WINDOWS:
        amount = col("amount")
        by = {"by": "t", "window_size": w, "closed": "left"}
        features += [
            col("is_event").rolling_sum_by(**by).over("user").alias(f"count_{w}"),
            amount.rolling_sum_by(**by).over("user").alias(f"sum_{w}"),
            amount.rolling_mean_by(**by).over("user").alias(f"mean_{w}"),
        ]
    both = both.with_columns(is_event=col("amount").is_not_null().cast(polars.Int64))
    answers = both.lazy().with_columns(features).filter(col("row").is_not_null())
    # A sum of nothing is 0 there and missing elsewhere.
    sums = [polars.when(col(f"count_{w}") > 0).then(col(f"sum_{w}")).alias(f"sum_{w}") for w in WINDOWS]
    answers = answers.drop("amount", "is_event").with_columns(sums).collect()
    answers.write_parquet(out, compression="zstd", compression_level=3)


if tool == "duckdb":
    import duckdb

    connection = duckdb.connect()
    version, run = duckdb.__version__, duckdb_windows
else:
    import polars

    version, run = polars.__version__, polars_windows


def peak_mib():
    # Not ru_maxrss, which has what the process was before it became this program.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


wall, cpu = time.perf_counter(), used()
run()
figures = {
    "version": version,
    "wall_s": time.perf_counter() - wall,
    "cpu_s": used() - cpu,
    "peak_mib": peak_mib(),
}
print(json.dumps(figures))
