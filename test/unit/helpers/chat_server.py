"""An OpenAI-compatible chat server on localhost whose model looks at how red the images are."""

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np


def images(message):
    parts = message["content"] if isinstance(message["content"], list) else []
    found = []
    for part in parts:
        if part["type"] == "image_url":
            head, _, data = part["image_url"]["url"].partition(",")
            assert head == "data:image/png;base64"
            pixels = np.frombuffer(base64.b64decode(data), np.uint8)
            found.append(cv2.cvtColor(cv2.imdecode(pixels, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
    return found


def redder(message):
    """A or B, by the red of the two halves of the images."""
    found = [image[:, :, 0].mean() for image in images(message)]
    half = len(found) // 2
    if not half:
        return "A"
    return "A" if np.mean(found[:half]) > np.mean(found[half:]) else "B"


def learned(messages):
    """The rule that the solved pairs show: is the redder one the failure?"""
    solved = [
        redder(asked) == answer["content"][-1]
        for asked, answer in zip(messages[1:-1:2], messages[2:-1:2], strict=True)
    ]
    return all(solved) if solved else True


class Model:
    """What the server does; `answer` may be replaced, `first` are statuses with headers that come before all answers."""

    def __init__(self, answer=None, first=(), delay=None):
        self.answer = answer or self.look
        self.first, self.delay = list(first), delay
        self.requests, self.headers = [], []

    def look(self, body):
        messages = body["messages"]
        verdict = redder(messages[-1])
        if not learned(messages):
            verdict = {"A": "B", "B": "A"}[verdict]
        return {"content": f"The colours differ.\nANSWER: {verdict}"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet

    def do_POST(self):
        model = self.server.model
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model.requests.append(body)
        model.headers.append(dict(self.headers))
        if self.path != "/v1/chat/completions":
            self.say(404, {"error": {"message": f"no such path {self.path}"}})
        elif model.first:
            status, headers, message = model.first.pop(0)
            self.say(status, {"error": {"message": message}}, headers)
        else:
            if model.delay is not None:
                model.delay.wait(20)
            made = model.answer(body)
            if isinstance(made, bytes):
                self.write(200, made, {})
            else:
                finish = made.pop("finish_reason", "stop")
                message = {"role": "assistant", **made}
                self.say(200, {"choices": [{"message": message, "finish_reason": finish}]})

    def say(self, status, data, headers=None):
        self.write(status, json.dumps(data).encode(), headers or {})

    def write(self, status, data, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_):
        pass


@contextmanager
def serving(model):
    """Serve; yields the root of the API."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.model = model
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
