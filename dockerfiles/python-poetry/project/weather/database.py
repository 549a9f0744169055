"""Measurements in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.extensions import connection, parse_dsn
from psycopg2.extras import execute_values

from weather.stations import Station

TABLE = "CREATE TABLE IF NOT EXISTS measurements (station text NOT NULL, celsius double precision NOT NULL)"


@contextmanager
def connected(address: str) -> Iterator[connection]:
    """A connection to a database that has the table; what is done with it is kept unless it fails."""
    with closing(psycopg2.connect(address, connect_timeout=3)) as found, found:
        with found.cursor() as cursor:
            cursor.execute(TABLE)
        yield found


def server(address: str) -> str:
    """The host of an address."""
    return parse_dsn(address).get("host", "localhost")


def save(database: connection, stations: Iterable[Station]) -> int:
    """Add all values; how many stations there were."""
    stations = list(stations)
    rows = [(station.name, value) for station in stations for value in station.temperatures]
    with database.cursor() as cursor:
        execute_values(cursor, "INSERT INTO measurements (station, celsius) VALUES %s", rows)
    return len(stations)


def temperatures(database: connection, station: str) -> list[float]:
    """All values of a station."""
    with database.cursor() as cursor:
        cursor.execute("SELECT celsius FROM measurements WHERE station = %s", (station,))
        return [value for (value,) in cursor]
