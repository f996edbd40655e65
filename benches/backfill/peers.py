"""One as-of join by one tool: python peers.py TOOL SPINE HISTORY OUT THREADS FEATURES, all Parquet. Prints its figures as JSON.

Each tool does it the way its documentation does, from files to a file, with the threads it is given; Parquet is written with
zstd, level 3. The clock starts when the tool is imported, which is in its favour.
"""

import json
import os
import resource
import sys
import time

tool, spine, history, out, threads, feature_count = sys.argv[1:7]
os.environ["POLARS_MAX_THREADS"] = threads
os.environ["OMP_NUM_THREADS"] = threads


def duckdb_join():
    features = ", ".join(f"h.f{i}" for i in range(int(feature_count)))
    connection.execute(f"SET threads = {threads}")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        f"COPY (SELECT s.*, {features} FROM read_parquet('{spine}') s ASOF LEFT JOIN read_parquet('{history}') h "
        f"ON s.user = h.user AND s.t >= h.t) TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)"
    )


def polars_join():
    # Both files are in the order of t, and polars is told so: it need not sort.
    left = polars.scan_parquet(spine).set_sorted("t")
    right = polars.scan_parquet(history).set_sorted("t")
    joined = left.join_asof(right, on="t", by="user", strategy="backward", check_sortedness=False)
    joined.collect().write_parquet(out, compression="zstd", compression_level=3)


def pandas_join():
    # Both files are in the order of t already.
    left = pandas.read_parquet(spine)
    right = pandas.read_parquet(history)
    joined = pandas.merge_asof(left, right, on="t", by="user")
    joined.to_parquet(out, compression="zstd", compression_level=3, index=False)


if tool == "duckdb":
    import duckdb

    connection = duckdb.connect()
    version, run = duckdb.__version__, duckdb_join
elif tool == "polars":
    import polars

    version, run = polars.__version__, polars_join
else:
    import pandas
    import pyarrow

    pyarrow.set_cpu_count(int(threads))
    version, run = pandas.__version__, pandas_join


def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


wall, cpu = time.perf_counter(), used()
run()
figures = {
    "version": version,
    "wall_s": time.perf_counter() - wall,
    "cpu_s": used() - cpu,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}
print(json.dumps(figures))
