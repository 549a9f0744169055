"""The service."""

from __future__ import annotations

from flask import Flask, Response, abort, jsonify, request

from checksums import __version__, algorithms, history

app = Flask(__name__)
engine = history.connect()


@app.get("/")
def index() -> Response:
    return jsonify(version=__version__, algorithms=algorithms.names())


@app.post("/<name>")
def compute(name: str) -> Response:
    try:
        function = algorithms.checksum(name)
    except KeyError:
        abort(404)
    value = function(request.get_data())
    history.remember(engine, name, value)
    return jsonify(algorithm=name, value=value)


@app.get("/counts")
def counts() -> Response:
    return jsonify(history.counts(engine))
