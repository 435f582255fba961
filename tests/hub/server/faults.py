"""Injected faults of the test Hub: statuses, stalls, cuts, and calls just before an answer."""

import re
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace


class Faults:
    """
    Planned faults of a server.

    Args:
        lock (`RLock`): Lock of the server. It makes the choice of a fault for a request one step.
    """

    def __init__(self, lock):
        self.lock, self.faults = lock, []

    def fail(self, match, fault, times=1, after=0, code=None, seconds=None, done=False):
        """
        Makes requests fail, or calls a function just before they are answered.

        Args:
            match (`str`): Regular expression. It is searched in `"METHOD path?query"`.
            fault (`int`, `str` or `Callable`): A number is the status of the answer. `"stall"` is silence and then a
                closed connection. `"cut"` closes the connection in the middle of the request's body, or of the
                response's body on a GET. A function is called first, and the request is then answered as usual.
            times (`int`): Number of requests that the fault hits.
            after (`int`): Number of matching requests, from now on, that pass before the first hit.
            code (`str`, *optional*): `X-Error-Code` of a status, such as `"RepoNotFound"`.
            seconds (`float`, *optional*): Length of a stall (60), or `Retry-After` of a status (1 for 429).
            done (`bool`): Whether the request is carried out first, so that only its answer is lost.
        """
        fault = {"match": re.compile(match), "what": fault, "times": times, "after": after, "code": code}
        self.faults.append(SimpleNamespace(**fault, seconds=seconds, done=done))

    def next_fault(self, request):
        """Returns the fault that hits a request, or None. Every matching fault counts the request."""
        hit = None
        with self.lock:
            for fault in self.faults:
                if fault.match.search(request):
                    fault.after -= 1
                    if hit is None and fault.after < 0 and fault.times > 0:
                        hit, fault.times = fault, fault.times - 1
        return hit


class FaultyHandler(BaseHTTPRequestHandler):
    """
    Reads each request, lets a fault happen to it, and writes the response.

    A subclass has the answers: `respond()` carries the request out and sends its answer, and
    `refuse(status, message, code, **headers)` sends an error. Both end in `deliver`.
    """

    def answer(self):
        self.hub = self.server.hub
        self.cut = self.muted = False
        fault = self.hub.next_fault(f"{self.command} {self.path}")
        what, done, size = fault and fault.what, fault and fault.done, int(self.headers.get("Content-Length") or 0)
        if what == "cut" and size and not done:
            self.rfile.read(size // 2)
            return self.hang_up()
        self.body = self.rfile.read(size)
        if done:
            self.muted = True
            self.respond()
            self.muted = False
        self.cut = what == "cut" and self.command == "GET" and not done
        if isinstance(what, int):
            # A 401 without a code means an invalid token. With a code it means a repository out of sight.
            message = "Invalid credentials in Authorization header" if what == 401 else f"Fault {what}"
            wait = 1 if what == 429 and fault.seconds is None else fault.seconds
            self.refuse(what, message, fault.code, **({} if wait is None else {"Retry-After": wait}))
        elif isinstance(what, str) and not self.cut:
            if what == "stall":
                self.hub.closing.wait(60 if fault.seconds is None else fault.seconds)
            self.hang_up()
        else:
            if callable(what):
                what()
            self.respond()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def hang_up(self):
        self.hub.requests.append((self.command, self.path, 0))
        self.close_connection = True

    def deliver(self, status, body, headers):
        """Writes a response. A muted one is left out, and a cut one ends in the middle of its body."""
        if self.muted:
            return
        self.hub.requests.append((self.command, self.path, status))
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if self.cut else body)
        self.close_connection |= self.cut
