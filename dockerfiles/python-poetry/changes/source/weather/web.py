"""The service."""

from __future__ import annotations

import os

import psycopg2
from flask import Flask, Response, jsonify, request
from tabulate import tabulate

from weather import database
from weather.stations import load

HEADERS = ("station", "values", "least", "median", "highest")

app = Flask(__name__)
address = os.environ.get("DATABASE_URL", "postgresql://localhost/weather")


@app.post("/stations")
def add() -> tuple[Response, int]:
    with database.connected(address) as connection:
        return jsonify(stations=database.save(connection, load(request.get_data(as_text=True)))), 201


@app.post("/table")
def table() -> Response:
    """What a file would add."""
    rows = [station.row() for station in load(request.get_data(as_text=True))]
    return Response(tabulate(rows, HEADERS), mimetype="text/plain")


@app.get("/stations/<name>")
def show(name: str) -> Response:
    with database.connected(address) as connection:
        return jsonify(name=name, temperatures=database.temperatures(connection, name))


@app.errorhandler(psycopg2.OperationalError)
def unreachable(error: psycopg2.OperationalError) -> tuple[Response, int]:
    return jsonify(error="the database cannot be reached", server=database.server(address)), 503
