"""A peer: what one writes in an afternoon. FastAPI, and an INSERT with its commit per request.

It keeps the body and nothing else: no deduplication of alerts, no incidents, no journal.
Run as `python -m tests.benchmarks.plain_intake DSN PORT`.
"""

import hashlib
import sys

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from psycopg_pool import ConnectionPool


def build(dsn: str) -> FastAPI:
    """The peer over a database."""
    pool = ConnectionPool(dsn, min_size=8, max_size=8, kwargs={"autocommit": True}, open=True)
    with pool.connection() as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS peer (digest bytea PRIMARY KEY, body bytea NOT NULL)"
        )
    app = FastAPI()

    def store(content: bytes) -> str:
        digest = hashlib.sha256(content).digest()
        with pool.connection() as connection:
            connection.execute(
                "INSERT INTO peer (digest, body) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (digest, content),
            )
        return digest.hex()

    @app.post("/alerts")
    async def take(request: Request) -> dict[str, str]:
        return {"stored": await run_in_threadpool(store, await request.body())}

    return app


if __name__ == "__main__":
    uvicorn.run(
        build(sys.argv[1]),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        access_log=False,
        loop="uvloop",
        http="httptools",
    )
