"""A Hub-compatible server on loopback, for the tests."""

import os
import socket
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from types import SimpleNamespace

from tests.hub.server.faults import Faults
from tests.hub.server.protocol import Listener
from tests.hub.server.storage import Repositories

__all__ = ["HubServer"]


class HubServer(Repositories, Faults):
    """
    A Hub-compatible server in a thread of this process. It runs within a `with` statement.

    Args:
        root (`Path`): Folder of the repositories. A later server over the same folder serves the same repositories.
        port (`int`): Port on loopback. 0 takes any free port.
    """

    def __init__(self, root, port=0):
        Repositories.__init__(self, root)
        Faults.__init__(self, self.lock)
        self.tokens, self.closing = {}, threading.Event()
        # Each request is (method, path with query, status). Status 0 means that the server closed the connection.
        self.requests = []
        # These are the requests for endpoints that do not exist here, and the tracebacks of the server itself.
        self.unhandled, self.errors = [], []
        self._listener = Listener(self, port)
        self.url = f"http://127.0.0.1:{self._listener.server_port}"

    def __enter__(self):
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.closing.set()
        self._listener.shutdown()
        self._listener.server_close()
        for connection in list(self._listener.connections):
            # The server would go on with a connection that is kept alive.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def add_token(self, token, user, write=True, orgs=()):
        self.tokens[token] = SimpleNamespace(user=user, write=write, namespaces=(user, *orgs))

    def environment(self, token=None, home="home", **more):
        """Returns the environment of a process whose Hub is this one. Each `home` has its own cache."""
        ours = ("HF_", "HUGGING", "TRANSFORMERS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(ours)}
        home = {
            "HF_HOME": str(self.root / "homes" / home),
            "HF_ENDPOINT": self.url,
            **({"HF_TOKEN": token} if token else {}),
        }
        off = ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS")
        quiet = {**dict.fromkeys(off, "1"), "HF_HUB_OFFLINE": "0", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
        return {**kept, **home, **quiet, "OMP_NUM_THREADS": "1", **more}

    def run(self, code, token=None, home="home", timeout=120, **more):
        """Runs Python code in a fresh process whose Hub is this one. Returns what it printed."""
        environment = self.environment(token, home, **more)
        command = [sys.executable, "-c", textwrap.dedent(code)]
        done = subprocess.run(command, env=environment, cwd=self.root, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stderr
        return done.stdout
