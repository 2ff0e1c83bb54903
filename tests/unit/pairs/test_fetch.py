"""Shards elsewhere: copied once, whole or not at all, in a file of each address's own."""

import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cocu.errors import DataError, EnvironmentFault
from cocu.pairs import fetch
from cocu.pairs.fetch import fetched

PROXIES = ("http_proxy", "https_proxy", "no_proxy")


class Server(ThreadingHTTPServer):
    """Answers by the first part of the path, and keeps every path (a proxy is asked for whole addresses)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.body = b"one"
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        kind = self.path.split("/")[1]
        if kind in ("404", "503"):
            self.send_error(int(kind))
            return
        self.send_response(302 if kind == "moved" else 200)
        if kind == "moved":
            self.send_header("Location", "/there/0.tar?signed=1")
        self.send_header("Content-Length", str(len(self.server.body) + 5 * (kind in ("cut", "stalled"))))
        self.end_headers()
        if kind != "moved":
            self.wfile.write(self.server.body)
            self.wfile.flush()
        if kind == "stalled":
            time.sleep(2)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Server() as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield http
        http.shutdown()


def refused(shard: str, reason: str, tmp_path: Path) -> None:
    """The shard cannot be had: a sentence names it and the reason, and nothing stays."""
    with pytest.raises(DataError) as caught:
        fetched(shard, tmp_path / "copies")
    said = str(caught.value)
    assert said.startswith(f"Cannot fetch the shard {shard} (") and reason in said
    assert not [path for path in (tmp_path / "copies").rglob("*") if path.is_file()]


def test_local_paths_are_themselves(tmp_path: Path) -> None:
    assert fetched(f"{tmp_path}/0.tar", tmp_path / "copies") == tmp_path / "0.tar"
    assert fetched("0.tar", tmp_path).is_absolute()


@pytest.mark.parametrize("kind", ["http", "pipe", "file", "memory"])
def test_copied_once(server: Server, tmp_path: Path, kind: str) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    source = tmp_path / "0.tar"
    shards = {
        "http": f"{server.url}/0.tar",
        "pipe": f"pipe:/bin/cat {source}",
        "file": f"file://{source}",
        "memory": "memory://bucket/0.tar",
    }

    def put(content: bytes) -> None:
        server.body = content
        source.write_bytes(content)
        MemoryFileSystem().pipe_file("/bucket/0.tar", content)

    put(b"one")
    path = fetched(shards[kind], tmp_path / "copies")
    assert path.parent == tmp_path / "copies" and path.suffix == ".tar" and path.read_bytes() == b"one"
    put(b"two")
    assert fetched(shards[kind], tmp_path / "copies") == path and path.read_bytes() == b"one"
    assert server.asked == ["/0.tar"] * (kind == "http")


def test_another_address_is_another_shard(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.tar").write_text(folder)
    read = [fetched(f"file://{tmp_path}/{folder}/0.tar", tmp_path / "copies").read_text() for folder in "ab"]
    assert read == ["a", "b"]


def test_a_large_shard_arrives_whole_and_a_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    server.body = os.urandom(7 << 20)  # more than one read
    assert fetched(f"{server.url}/moved/0.tar", tmp_path).read_bytes() == server.body
    assert server.asked == ["/moved/0.tar", "/there/0.tar?signed=1"]


@pytest.mark.parametrize("query", ["0.tar?sig=a%2fb%2BC%3d&e=1", "get?file=x/0.tar&v=2", "ä b/0.tar?x=ü"])
def test_the_request_keeps_the_address_as_it_is_written(server: Server, tmp_path: Path, query: str) -> None:
    assert fetched(f"{server.url}/{query}", tmp_path).read_bytes() == b"one"
    assert server.asked == ["/" + query.replace("ä b", "%C3%A4%20b").replace("ü", "%C3%BC")]


@pytest.mark.parametrize(
    ("kind", "reason"), [("404", "there is no such file"), ("503", "503"), ("cut", "Not enough data to satisfy")]
)
def test_what_a_server_does_not_give_whole_is_no_shard(server: Server, tmp_path: Path, kind: str, reason: str) -> None:
    refused(f"{server.url}/{kind}/0.tar", reason, tmp_path)


def test_a_server_that_stalls_is_given_up(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "STALL", 0.25)
    refused(f"{server.url}/stalled/0.tar", "nothing came for 0.25 s", tmp_path)


def test_a_slow_server_may_take_longer_than_it_may_stall(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(8):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.1)

    monkeypatch.setattr(Handler, "do_GET", slowly)
    monkeypatch.setattr(fetch, "STALL", 0.5)
    assert fetched(f"{server.url}/0.tar", tmp_path).read_bytes() == b"x" * 8


def test_a_refused_connection_is_a_sentence(server: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused(f"http://127.0.0.1:{unused.getsockname()[1]}/0.tar", "Cannot connect to host 127.0.0.1", tmp_path)


def test_a_proxy_is_used_as_the_environment_says(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    fetched("http://images.example/0.tar", tmp_path)
    assert server.asked == ["http://images.example/0.tar"]
    with Server() as origin:
        threading.Thread(target=origin.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
        fetched(f"{origin.url}/1.tar", tmp_path)
        origin.shutdown()
    assert origin.asked == ["/1.tar"] and len(server.asked) == 1


def test_a_command_is_run_by_the_shell_and_reports_its_end(tmp_path: Path) -> None:
    shard = f"pipe:printf '%s' one | /usr/bin/tr o x  # {tmp_path}/0.tar"
    assert fetched(shard, tmp_path / "ran").read_bytes() == b"xne"
    failing = "pipe:printf half; echo first >&2; echo last >&2; exit 7  # 0.tar"
    refused(failing, "the command ended with status 7: last", tmp_path)
    refused("pipe:exit 3  # 0.tar", "the command ended with status 3: it said nothing", tmp_path)


def test_what_cannot_be_had_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    refused(f"pipe:/bin/cat {tmp_path}/none.tar", "No such file or directory", tmp_path)
    refused(f"file://{tmp_path}/none.tar", "there is no such file", tmp_path)
    refused("ftp5://x/none.tar", "Protocol not known: ftp5", tmp_path)


@pytest.mark.parametrize(
    ("scheme", "package", "install"),
    [
        *(("s3", "s3fs", "'cocu[s3]'"), ("s3a", "s3fs", "'cocu[s3]'")),
        *(("gs", "gcsfs", "'cocu[gs]'"), ("gcs", "gcsfs", "'cocu[gs]'")),
        *(("http", "aiohttp", "aiohttp"), ("sftp", "paramiko", "paramiko")),
    ],
)
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, package: str, install: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EnvironmentFault, match=rf"^The shard {scheme}://b/0\.tar needs a package ") as caught:
        fetched(f"{scheme}://b/0.tar", tmp_path)
    assert str(caught.value).endswith(f": run `pip install {install}`.")


def test_a_fault_of_the_source_is_not_the_folder_s_and_the_other_way_round(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.local import LocalFileSystem

    def fails(code: int) -> None:
        def get_file(*_: object, **__: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(LocalFileSystem, "get_file", get_file)

    fails(errno.EACCES)
    refused("file:///locked/0.tar", "Permission denied", tmp_path)
    fails(errno.ENOSPC)
    with pytest.raises(EnvironmentFault, match="No room left while writing"):
        fetched("file:///locked/0.tar", tmp_path / "copies")

    def touch(*_: object) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "touch", touch)
    with pytest.raises(EnvironmentFault, match=r"copies/\w+\.tar cannot be written \(Permission denied\)"):
        fetched(f"{server.url}/0.tar", tmp_path / "copies")
    assert not server.asked
