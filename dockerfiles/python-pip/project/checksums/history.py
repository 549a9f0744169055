"""What was computed before."""

from __future__ import annotations

from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Computed(Base):
    __tablename__ = "computed"

    id: Mapped[int] = mapped_column(primary_key=True)
    algorithm: Mapped[str]
    value: Mapped[str]


def connect(url: str = "sqlite://") -> Engine:
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    return engine


def remember(engine: Engine, algorithm: str, value: str) -> None:
    with Session(engine) as session, session.begin():
        session.add(Computed(algorithm=algorithm, value=value))


def counts(engine: Engine) -> dict[str, int]:
    with Session(engine) as session:
        query = select(Computed.algorithm, func.count()).group_by(Computed.algorithm)
        return {algorithm: count for algorithm, count in session.execute(query)}
