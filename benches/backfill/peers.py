"""One as-of join by one tool: python peers.py TOOL SPINE HISTORY OUT THREADS FEATURES, all Parquet. Prints its figures as JSON.

Each tool does it the way its documentation does, from files to a file, with the threads it is given; Parquet is written with
zstd, level 3. The clock starts when the tool is imported, a session of Spark has begun and Feast knows its views, which is in
their favour.
"""

import json
import os
import resource
import sys
import tempfile
import time

tool, spine, history, out, threads, feature_count = sys.argv[1:7]
os.environ["POLARS_MAX_THREADS"] = threads
os.environ["OMP_NUM_THREADS"] = threads
MEMORY_BYTES = 12 << 30


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


def pyspark_join():
    # Spark has no as-of join: the last row of the history in a window over both.
    names = [f"f{i}" for i in range(int(feature_count))]
    left = session.read.parquet(spine)
    right = session.read.parquet(history)
    labels = [name for name in left.columns if name not in ("user", "t")]
    spine_row = functions.struct(*labels).alias("spine_row")
    features = functions.struct(*names).alias("features")
    nothing = functions.lit(None)
    both = left.select("user", "t", spine_row, nothing.cast(right.select(features).schema[0].dataType).alias("features"))
    # Of one time, the history comes first.
    both = both.withColumn("side", functions.lit(1)).unionByName(
        right.select("user", "t", nothing.cast(both.schema["spine_row"].dataType).alias("spine_row"), features).withColumn(
            "side", functions.lit(0)
        )
    )
    window = Window.partitionBy("user").orderBy("t", "side").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    joined = both.withColumn("features", functions.last("features", ignorenulls=True).over(window))
    joined = joined.where("spine_row is not null").select("user", "t", "spine_row.*", "features.*")
    joined.write.mode("overwrite").option("compression", "zstd").parquet(out + ".spark")


def feast_join():
    rows = pandas.read_parquet(spine).rename(columns={"t": "event_timestamp"})
    names = [f"history:f{i}" for i in range(int(feature_count))]
    joined = store.get_historical_features(entity_df=rows, features=names).to_df()
    joined.to_parquet(out, compression="zstd", compression_level=3, index=False)


def feast_store():
    """A store with one view, in a directory of its own."""
    import datetime

    import feast

    directory = tempfile.mkdtemp(dir=os.path.dirname(out))
    config = feast.RepoConfig(
        project="bench",
        provider="local",
        registry=f"{directory}/registry.db",
        online_store={"type": "sqlite", "path": f"{directory}/online.db"},
        offline_store={"type": "dask"},
        entity_key_serialization_version=3,
    )
    store = feast.FeatureStore(config=config)
    user = feast.Entity(name="user", join_keys=["user"], value_type=feast.ValueType.INT64)
    types = {True: feast.types.Float64, False: feast.types.Int64}
    view = feast.FeatureView(
        name="history",
        entities=[user],
        ttl=datetime.timedelta(0),
        schema=[feast.Field(name=f"f{i}", dtype=types[i % 10 < 8]) for i in range(int(feature_count))],
        source=feast.FileSource(path=os.path.abspath(history), timestamp_field="t"),
    )
    store.apply([user, view])
    return store, feast.__version__


# The processes that work beside this one.
children = []

if tool == "duckdb":
    import duckdb

    connection = duckdb.connect()
    version, run = duckdb.__version__, duckdb_join
elif tool == "polars":
    import polars

    version, run = polars.__version__, polars_join
elif tool == "pyspark":
    import pyspark
    from pyspark.sql import SparkSession, Window, functions

    builder = SparkSession.builder.master(f"local[{threads}]").config("spark.driver.memory", "6g")
    builder = builder.config("spark.sql.shuffle.partitions", str(8 * int(threads)))
    builder = builder.config("spark.sql.session.timeZone", "UTC").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    builder = builder.config("spark.hadoop.parquet.compression.codec.zstd.level", "3")
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    children = [session.sparkContext._gateway.proc.pid]
    version, run = pyspark.__version__, pyspark_join
elif tool == "feast":
    import pandas

    # It joins all rows of an entity with each other first: it is stopped before it takes the whole machine.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    store, version = feast_store()
    run = feast_join
else:
    import pandas
    import pyarrow

    pyarrow.set_cpu_count(int(threads))
    version, run = pandas.__version__, pandas_join


def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = usage.ru_utime + usage.ru_stime
    for child in children:
        with open(f"/proc/{child}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def peak_mib():
    # Not ru_maxrss, which has what the process was before it became this program.
    peak = 0
    for process in ["self", *children]:
        with open(f"/proc/{process}/status") as status:
            peak += sum(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
    return peak


wall, cpu = time.perf_counter(), used()
run()
figures = {
    "version": version,
    "wall_s": time.perf_counter() - wall,
    "cpu_s": used() - cpu,
    "peak_mib": peak_mib(),
}
if tool == "pyspark":
    # As one file, to be compared.
    import pyarrow.dataset
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.dataset.dataset(out + ".spark").to_table(), out)
print(json.dumps(figures))
