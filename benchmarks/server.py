"""A bare HTTP server in a process of its own, so that it is not what is measured.

`GET` answers the current listing of N jobs; `POST /next` changes the status of the first M jobs.
Usage: server.py JOBS CHANGED; prints its port.
"""

import asyncio
import json
import sys


def listing(jobs: int, changed: int, round_: int) -> bytes:
    """Return a listing whose first `changed` jobs have another status each round."""
    return json.dumps(
        [
            {
                "job_id": f"f47ac10b-58cc-4372-a567-{number:012d}",
                "workflow_id": f"beam-backfill-org123-f47ac10b-58cc-4372-a567-{number:012d}",
                "organization_id": "org123",
                "status": ("staging", "transporting")[round_ % 2] if number < changed else "completed",
                "job_name": f"USDC transfers of month {number}",
                "table": "base.assets.erc20_token_transfers",
                "partition_key": "block_timestamp",
                "backfill_start": "2024-01-01T00:00:00",
                "backfill_end": "2024-02-01T00:00:00",
                "filter_column": "token_address",
                "filter_values": ["0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"],
                "destinations": [{"type": "kafka", "name": "base-usdc-transfers-backfill", "uid": "0" * 32}],
                "static_egress_ip": False,
                "num_chunks": 1000,
                "chunks_left": 423,
                "error_message": None,
                "time_created": "2024-04-27T10:30:00Z",
                "time_completed": None,
            }
            for number in range(jobs)
        ]
    ).encode()


async def serve(jobs: int, changed: int) -> None:
    """Serve until killed."""
    round_ = 0
    body = listing(jobs, changed, round_)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal round_, body
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if head.startswith(b"POST"):
                    round_ += 1
                    body = listing(jobs, changed, round_)
                    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                else:
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                        % len(body)
                    )
                    writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
