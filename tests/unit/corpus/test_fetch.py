"""Shards elsewhere: copied once, whole or not at all, named by their last part."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cocu.corpus.fetch import fetched
from cocu.errors import DataError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served/0.tar").write_bytes(b"one")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_local_paths_are_themselves(tmp_path: Path) -> None:
    assert fetched(f"{tmp_path}/0.tar", tmp_path / "copies") == tmp_path / "0.tar"
    assert fetched("0.tar", tmp_path).is_absolute()


@pytest.mark.parametrize("kind", ["http", "pipe", "file"])
def test_copied_once(server: str, tmp_path: Path, kind: str) -> None:
    source = tmp_path / "served/0.tar"
    shard = {"http": f"{server}/0.tar", "pipe": f"pipe:cat {source}", "file": f"file://{source}"}[kind]
    path = fetched(shard, tmp_path / "copies")
    assert path.name == "0.tar" and path.read_bytes() == b"one"
    source.write_bytes(b"two")
    assert fetched(shard, tmp_path / "copies") == path and path.read_bytes() == b"one"


def test_another_address_is_another_shard(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.tar").write_text(folder)
    read = [fetched(f"file://{tmp_path}/{folder}/0.tar", tmp_path / "copies").read_text() for folder in "ab"]
    assert read == ["a", "b"]


def test_what_cannot_be_had_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    for shard in (f"pipe:cat {tmp_path}/none.tar", f"file://{tmp_path}/none.tar", "ftp5://x/none.tar"):
        with pytest.raises(DataError, match=r"Cannot fetch the shard .*none\.tar"):
            fetched(shard, tmp_path / "copies")
    assert not list((tmp_path / "copies").rglob("*.tar*"))
    with pytest.raises(DataError, match=r"names no \.tar file"):
        fetched("s3://bucket/x", tmp_path / "copies")
