#!/usr/bin/env python3
"""A gateway in front of an OpenAI-like API: reserves an estimate of a request's cost at token.fcgi, calls the
upstream, and settles at the use that the upstream reports. README.md says how to run it."""

import contextlib
import json
import math
import os
import sys
import threading
import time
import uuid
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

INTERNAL = os.environ.get("INTERNAL", "http://127.0.0.1:8081/api/token/")
UPSTREAM = os.environ.get("UPSTREAM", "https://api.openai.com/v1/chat/completions")
GATEWAY_SECRET, UPSTREAM_KEY = os.environ["GATEWAY_SECRET"], os.environ["UPSTREAM_KEY"]
PRICES = {"gpt-4o": (1250, 5000), "gpt-4o-mini": (75, 300)}  # units for 1,000 tokens: prompt, completion
UPSTREAM_S = 300
TTL_S = 900  # longer than a request takes: a reservation that has not ended by then is settled at its amount

http = requests.Session()
http.trust_env = False  # no proxies, no .netrc


class Failure(Exception):
    """What the client is told: status, code, message, and when to come again."""


def cost(model, prompt_tokens, completion_tokens, ratio=1):
    prompt, completion = PRICES[model]
    return math.ceil((prompt_tokens * prompt + completion_tokens * completion) * Fraction(str(ratio)) / 1000)


def call(route, **body):
    """Asks token.fcgi, three times if need be; None: no answer. Nothing is done twice: token.fcgi knows a reserve
    by its transaction_id, and a reservation ends once."""
    for _ in range(3):
        wait_s = 1
        with contextlib.suppress(requests.RequestException):
            reply = http.post(INTERNAL + route, json=body, headers={"X-Gateway-Token": GATEWAY_SECRET}, timeout=10)
            if reply.status_code != 503:
                return reply
            wait_s = int(reply.headers.get("Retry-After", 1))
        time.sleep(wait_s)
    return None


def reserve(**body):
    body = {**body, "ttl_seconds": TTL_S, "transaction_id": str(uuid.uuid4())}
    reply = call("reserve", **body)
    if reply is None:
        threading.Thread(target=give_back, kwargs=body).start()
        raise Failure(503, "unavailable", "Try again later", "5")
    answer = reply.json()
    if reply.status_code == 200:
        return answer["data"]
    if answer["code"] == "unauthorized":
        raise Failure(500, "gateway", "The gateway's own secret is wrong")
    status = 402 if answer["code"] == "balance" else reply.status_code
    raise Failure(status, answer["code"], answer["message"], reply.headers.get("Retry-After"))


def give_back(**body):
    """A reserve without an answer may have been done: asks again, for longer, and cancels it."""
    until = time.monotonic() + TTL_S
    while (reply := call("reserve", **body)) is None and time.monotonic() < until:
        pass
    if reply is not None and reply.status_code == 200:
        call("cancel", reservation=reply.json()["data"]["reservation"])


def settle(reservation, amount):
    reply = call("settle", reservation=reservation, amount=amount)
    shortfall = reply.json()["data"]["shortfall"] if reply is not None and reply.status_code == 200 else "unknown"
    if shortfall != 0:  # what the token and its owner did not have left
        print(f"reservation {reservation} settled at {amount}: shortfall {shortfall}", file=sys.stderr)


class Gateway(BaseHTTPRequestHandler):
    timeout = 60  # s, for a client that sends or takes nothing

    def do_POST(self):
        try:
            self.serve(*self.read_request())
        except Failure as failure:
            status, code, message, *retry_after = failure.args
            self.answer(status, {"error": {"message": message, "type": code, "code": code}}, *retry_after)

    def read_request(self):
        """The request, and estimates of its tokens: most texts have three bytes or more for each."""
        try:
            body = self.rfile.read(min(int(self.headers["Content-Length"]), 10_000_000))
            request = json.loads(body)
            completion = int(request.get("max_completion_tokens") or request.get("max_tokens") or 4096)
            if self.path != "/v1/chat/completions" or request["model"] not in PRICES or completion < 0:
                raise ValueError
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Failure(400, "invalid", f"POST to /v1/chat/completions, with a model of {list(PRICES)}") from None
        return request, len(body) // 3, completion

    def serve(self, request, prompt_tokens, completion_tokens):
        model, is_stream = request["model"], bool(request.get("stream"))
        held = reserve(key=self.headers.get("Authorization", "").removeprefix("Bearer "), model=model,
                       amount=cost(model, prompt_tokens, completion_tokens),
                       ip=self.headers.get("X-Real-IP", self.client_address[0]))  # from the nginx in front
        try:
            options = request.get("stream_options") or {}
            if is_stream:
                request["stream_options"] = {**options, "include_usage": True}  # in its last event
            reply = http.post(UPSTREAM, json=request, stream=is_stream, timeout=(5, UPSTREAM_S),
                              headers={"Authorization": f"Bearer {UPSTREAM_KEY}"})
            if reply.status_code in (400, 413, 422, 429):
                raise Failure(reply.status_code, "upstream", reply.text, reply.headers.get("Retry-After"))
            reply.raise_for_status()
            asks_use = options.get("include_usage")
            use = self.pass_on(reply, prompt_tokens, asks_use) if is_stream else reply.json()["usage"]
            amount = cost(model, use["prompt_tokens"], use["completion_tokens"], held.get("group_ratio", 1))
        except Exception as error:
            call("cancel", reservation=held["reservation"])
            raise error if isinstance(error, Failure) else Failure(502, "upstream", "No answer") from error
        settle(held["reservation"], amount)
        if not is_stream:
            self.answer(200, reply.json())

    def pass_on(self, reply, prompt_tokens, asks_use):
        """Passes a stream's lines on and returns the use. It reads to the end, also if the client has gone: the
        upstream works and bills on. If the stream breaks off, each event counts as a token."""
        lines, until = reply.iter_lines(), time.monotonic() + UPSTREAM_S
        line, events, use = next(lines), 0, None  # may fail, while the client can still be told
        self.answer(200, content_type="text/event-stream")
        with contextlib.suppress(requests.RequestException, ValueError):
            while line is not None and time.monotonic() < until:
                event = json.loads(line[6:]) if line.startswith(b"data: {") else {}
                use, events = event.get("usage") or use, events + bool(event)
                if event.get("choices") != [] or asks_use:  # others may not expect an event without a choice
                    self.send(line + b"\n")
                line = next(lines, None)
        return use or {"prompt_tokens": prompt_tokens, "completion_tokens": events}

    def answer(self, status, body=None, retry_after=None, content_type="application/json"):
        head = f"HTTP/1.0 {status} {self.responses[status][0]}\r\nContent-Type: {content_type}\r\n"
        head += f"Retry-After: {retry_after}\r\n" if retry_after else ""
        self.send(head.encode() + b"\r\n" + (json.dumps(body).encode() if body else b""))

    def send(self, data):
        with contextlib.suppress(OSError):  # a client that has gone is served all the same
            self.wfile.write(data)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Gateway).serve_forever()
