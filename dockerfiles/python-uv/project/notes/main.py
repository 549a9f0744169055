"""The service."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from jinja2 import Template
from markdown_it import MarkdownIt
from pydantic import BaseModel, Field

from notes.related import Related
from notes.store import Store

app = FastAPI(title="notes")
store = Store()
related = Related(store)
page = Template("<!doctype html><title>Note {{ number }}</title>{{ body }}")


class Note(BaseModel):
    text: str = Field(min_length=1, max_length=10_000)


@app.post("/notes", status_code=201)
def add(note: Note) -> dict[str, int]:
    return {"number": store.add(note.text)}


@app.get("/notes")
def find(word: str = "") -> list[int]:
    return store.find(word)


@app.get("/notes/{number}", response_class=HTMLResponse)
def show(number: int) -> str:
    if number not in store.notes:
        raise HTTPException(404)
    return page.render(number=number, body=MarkdownIt().render(store.notes[number]))


@app.get("/notes/{number}/related")
def related_to(number: int, count: int = 5) -> list[int]:
    if number not in store.notes:
        raise HTTPException(404)
    return related.to(number, count)
