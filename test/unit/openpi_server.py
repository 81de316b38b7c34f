"""A server that speaks openpi's protocol (src/openpi/serving/websocket_policy_server.py), written from it: a process of its own.

Its policy answers with what it sees; on a black image it does what the prompt says instead: fails, is silent, sends nonsense.
Usage: openpi_server.py METADATA [healthz status]; prints its port, ends with its standard input.
"""

import asyncio
import http
import json
import os
import sys
import traceback

import numpy as np
from websockets.asyncio.server import serve

from robomd_ros.policies.msgpack_numpy import pack, unpack

HORIZON = 10


def chunk(seen):
    """Actions that tell what arrived: step, mean of both images, first of the state, length of the prompt."""
    step = np.arange(HORIZON, dtype=np.float64)
    told = [
        step / 100,
        np.full(HORIZON, seen["observation/image"].mean() / 255),
        np.full(HORIZON, seen["observation/wrist_image"].mean() / 255),
        np.full(HORIZON, seen["observation/state"][0]),
        np.full(HORIZON, seen["observation/state"][5]),
        np.full(HORIZON, len(seen["prompt"]) / 100),
        np.ones(HORIZON),
    ]
    return np.stack(told, axis=1)


def nonsense(prompt):
    actions = np.zeros((HORIZON, 7))
    if prompt == "not finite":
        actions[1, 2] = np.nan
    return {
        "not finite": {"actions": actions},
        "eight numbers": {"actions": np.zeros((HORIZON, 8))},
        "one axis": {"actions": np.zeros(7)},
        "three actions": {"actions": actions[:3]},
        "text": {"actions": "left"},
        "no actions": {"state": np.zeros(8)},
        "a list": [1, 2, 3],
        "long": {"actions": actions, "extra": bytes(20_000_000)},
    }[prompt]


async def answer(socket, seen):
    prompt = seen["prompt"]
    if seen["observation/image"].any():
        await socket.send(pack({"actions": chunk(seen), "server_timing": {"infer_ms": 1.5}}))
    elif prompt == "silent":
        await asyncio.sleep(3600)
    elif prompt == "fail":
        raise RuntimeError("it is dark")
    elif prompt == "hang up":
        await socket.close(1001, "going home")
    elif prompt == "no MessagePack":
        await socket.send(b"\xc1\xc1")
    elif prompt == "twice":
        await socket.send(pack({"actions": chunk(seen)}))
        await socket.send(pack({"actions": chunk(seen)}))
    else:
        await socket.send(pack(nonsense(prompt)))


async def handle(socket, metadata):
    await socket.send(metadata if isinstance(metadata, str) else pack(metadata))
    try:
        async for message in socket:
            await answer(socket, unpack(message))
    except RuntimeError:
        await socket.send(traceback.format_exc())
        await socket.close(1011, "Internal server error. Traceback included in previous frame.")


async def main(metadata, status):
    def healthz(connection, request):
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus(status), "OK\n")
        return None

    async with serve(
        lambda socket: handle(socket, metadata),
        "127.0.0.1",
        0,
        compression=None,
        max_size=None,
        process_request=healthz,
    ) as server:
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        os._exit(0)  # a handler that sleeps is not waited for


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1]), int(sys.argv[2])))
