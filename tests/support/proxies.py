"""nginx and HAProxy as Debian packages them, as processes of a test on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
    upstream takedown {{
        server 127.0.0.1:{public[0]};
        server 127.0.0.1:{public[1]};
        {more}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://takedown;
            {location}
        }}
    }}
}}
"""
"""Everything that decides what happens to a request has nginx's own default: `proxy_next_upstream
error timeout`, `max_fails=1 fail_timeout=10s`, no active checks. The rest says where to listen and
where an unprivileged process may write."""

NGINX_KEEPALIVE = {
    "more": "keepalive 16;",
    "location": 'proxy_http_version 1.1; proxy_set_header Connection "";',
}
"""What nginx's documentation says to add for connections that are used again."""

HAPROXY = """
defaults
    mode    http
    timeout connect 5000
    timeout client  50000
    timeout server  50000

listen takedown
    bind 127.0.0.1:{port}
    option httpchk GET /readyz
    server a 127.0.0.1:{public[0]} check port {admin[0]}
    server b 127.0.0.1:{public[1]} check port {admin[1]}
"""
"""`defaults` as in Debian's /etc/haproxy/haproxy.cfg, without its log and its error pages. Checks
have HAProxy's own default times (`inter 2s fall 3 rise 2`), and so have `retries` (3) and
`http-reuse` (safe). HAProxy needs the check: without one it sends a share of the requests to an
instance that is down for as long as it is down, whatever that does."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require(program: str) -> str:
    """Where the program is; skips, or fails where it must not be missing."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        missing = f"{program} is not installed (Debian: apt-get install {program})"
        if os.environ.get("REQUIRE_PROXIES") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return path


@contextmanager
def proxy(*command: str, port: int) -> Iterator[None]:
    """A proxy that runs during the block."""
    process = subprocess.Popen(command)
    try:
        end = time.monotonic() + 10
        while True:
            assert process.poll() is None, f"{command[0]} ended with status {process.returncode}"
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < end, f"{command[0]} does not listen"
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def nginx(folder: Path, public: tuple[int, int], **more: str) -> Iterator[str]:
    """nginx in front of two instances; gives its address."""
    port = free_port()
    path = folder / "nginx.conf"
    settings = {"more": "", "location": "", "http": "", **more}
    path.write_text(NGINX.format(folder=folder, port=port, public=public, **settings))
    with proxy(require("nginx"), "-p", str(folder), "-c", str(path), port=port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def haproxy(folder: Path, public: tuple[int, int], admin: tuple[int, int]) -> Iterator[str]:
    """HAProxy in front of two instances; gives its address."""
    port = free_port()
    path = folder / "haproxy.cfg"
    path.write_text(HAPROXY.format(port=port, public=public, admin=admin))
    with proxy(require("haproxy"), "-db", "-f", str(path), port=port):
        yield f"http://127.0.0.1:{port}"
