#!/usr/bin/env python3
"""A gateway in front of an OpenAI-like API: reserves an estimate of a request's cost at token.fcgi, calls the
upstream, and settles at the use that the upstream reports. README.md says how to run it."""

import json
import os
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

INTERNAL = os.environ.get("INTERNAL", "http://127.0.0.1:8081/api/token/")
UPSTREAM = os.environ.get("UPSTREAM", "https://api.openai.com/v1/chat/completions")
GATEWAY_SECRET, UPSTREAM_KEY = os.environ["GATEWAY_SECRET"], os.environ["UPSTREAM_KEY"]
PRICES = {"gpt-4o": (1250, 5000), "gpt-4o-mini": (75, 300)}  # units for 1,000 tokens: prompt, completion
UPSTREAM_S, TTL_S = 300, 900  # a reservation that has not ended after TTL_S is settled at its amount

http = requests.Session()
http.trust_env = False  # no proxies, no .netrc


def cost(model, use, ratio=1):
    prompt, completion = PRICES[model]
    thousandths = use["prompt_tokens"] * prompt + use["completion_tokens"] * completion
    return -(-thousandths * round(ratio * 1_000_000) // 1_000_000_000)  # up; a ratio has up to six decimals


def call(route, body, tries=3):
    """Asks token.fcgi: status, JSON, headers; status None without an answer. Nothing is done twice: token.fcgi knows
    a reserve by its transaction_id, and a reservation ends once."""
    for _ in range(tries):
        with suppress(requests.RequestException):
            reply = http.post(INTERNAL + route, json=body, headers={"X-Gateway-Token": GATEWAY_SECRET}, timeout=10)
            if reply.status_code < 500:
                return reply.status_code, reply.json(), reply.headers
        time.sleep(1)
    return None, {}, {}


class Gateway(BaseHTTPRequestHandler):
    timeout = 60  # s, for a client that sends or takes nothing

    def do_POST(self):
        try:
            text = self.rfile.read(min(int(self.headers["Content-Length"]), 10_000_000))
            request = json.loads(text)
            completion = int(request.get("max_completion_tokens") or request.get("max_tokens") or 4096)
            estimate = {"prompt_tokens": len(text) // 3, "completion_tokens": completion}  # few tokens are shorter
            body = {"key": self.headers.get("Authorization", "").removeprefix("Bearer "), "model": request["model"],
                    "ip": self.headers.get("X-Real-IP", self.client_address[0]), "ttl_seconds": TTL_S,
                    "amount": cost(request["model"], estimate), "transaction_id": os.urandom(16).hex()}
            if self.path != "/v1/chat/completions":
                raise ValueError
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return self.fail(400, "invalid", f"POST to /v1/chat/completions, with a model of {list(PRICES)}")
        status, answer, headers = call("reserve", body)
        if status == 200:
            return self.serve(request, estimate, answer["data"])
        if status is None:  # it may have been done: asks again, for longer, and cancels it
            self.fail(503, "unavailable", "Try again later", 5)
            status, answer, _ = call("reserve", body, tries=TTL_S)
            return status == 200 and call("cancel", {"reservation": answer["data"]["reservation"]})
        if answer["code"] == "unauthorized":
            return self.fail(500, "gateway", "The gateway's own secret is wrong")
        status = 402 if answer["code"] == "balance" else status
        return self.fail(status, answer["code"], answer["message"], headers.get("Retry-After"))

    def serve(self, request, estimate, held):
        is_stream, options = bool(request.get("stream")), request.get("stream_options") or {}
        failure = 502, "upstream", "No answer"
        try:
            if is_stream:
                request["stream_options"] = {**options, "include_usage": True}  # in its last event
            reply = http.post(UPSTREAM, json=request, stream=is_stream, timeout=(5, UPSTREAM_S),
                              headers={"Authorization": f"Bearer {UPSTREAM_KEY}"})
            if reply.status_code in (400, 413, 422, 429):
                failure = reply.status_code, "upstream", reply.text, reply.headers.get("Retry-After")
            reply.raise_for_status()
            use = self.pass_on(reply, estimate, options.get("include_usage")) if is_stream else reply.json()["usage"]
            amount = cost(request["model"], use, held.get("group_ratio", 1))
        except Exception:  # whatever it is, the client does not pay for it
            call("cancel", {"reservation": held["reservation"]})
            return self.fail(*failure)
        _, answer, _ = call("settle", {"reservation": held["reservation"], "amount": amount})
        if shortfall := answer.get("data", {"shortfall": "unknown"})["shortfall"]:  # token and owner had not
            self.log_error("reservation %s settled at %s: shortfall %s", held["reservation"], amount, shortfall)
        return is_stream or self.answer(200, reply.json())

    def pass_on(self, reply, estimate, asks_use):
        """Passes a stream's lines on and returns the use. It reads to the end, also if the client has gone: the
        upstream works and bills on. If the stream breaks off, each event counts as a token."""
        lines, until = reply.iter_lines(), time.monotonic() + UPSTREAM_S
        line, events, use = next(lines), 0, {}  # may fail, while the client can still be told
        self.answer(200)
        with suppress(requests.RequestException, ValueError):
            while line is not None and time.monotonic() < until:
                event = json.loads(line[6:]) if line.startswith(b"data: {") else {}
                use, events = event.get("usage") or use, events + bool(event)
                if event.get("choices") != [] or asks_use:  # others may not expect an event without a choice
                    self.send(line + b"\n")
                line = next(lines, None)
        return {**estimate, "completion_tokens": events, **use}

    def fail(self, status, code, message, retry_after=None):
        self.answer(status, {"error": {"message": message, "type": code, "code": code}}, retry_after)

    def answer(self, status, body=None, retry_after=None):  # without a body: the head of a stream
        data = json.dumps(body).encode() if body else b""
        kind = f"application/json\r\nContent-Length: {len(data)}" if body else "text/event-stream"
        retry = f"\r\nRetry-After: {retry_after}" if retry_after else ""
        head = f"HTTP/1.0 {status} {self.responses[status][0]}\r\nContent-Type: {kind}{retry}\r\n\r\n"
        self.send(head.encode() + data)

    def send(self, data):
        with suppress(OSError):  # a client that has gone is served all the same
            self.wfile.write(data)


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Gateway).serve_forever()
