"""Reads archives with Spark, for test_lake.py: a program of its own, for Spark has a Python environment of its own.

Arguments: a folder to work in, an archive, and one that is whole in one day only. Prints what it found as JSON.
"""

import json
import sys

from pyspark.sql import SparkSession, functions

work, whole, one_day = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .config("spark.local.dir", work)
    .config("spark.sql.warehouse.dir", f"{work}/warehouse")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)


def numbers(rows) -> list[int]:
    return sorted(int(row.x) for row in rows.select("x").collect())


read = spark.read.option("mergeSchema", "true").parquet(whole)
rows = read.select("x", "prediction", "gate", "version").orderBy("x").collect()
# The schema is given: it stands in files that are not to be read.
day = spark.read.schema(read.schema).parquet(one_day).where(functions.col("date") == "2013-07-01")
found = {
    "rows": [list(row) for row in rows],
    "types": dict(read.dtypes),
    "of_one_day": numbers(day),
    "of_one_hour": numbers(day.where(functions.col("hour") == 3)),
}
print(json.dumps(found))
spark.stop()
