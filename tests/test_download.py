"""`download`: what arrives whole and right gets its name, whatever the server says, breaks off or sends.

The server is one of this process, on this machine; nothing here needs a network.
"""

import contextlib
import errno
import hashlib
import http.server
import io
import os
import threading
import time

import pytest
from small_text import mistake, run

from maskrcnn.training import download as downloading
from maskrcnn.training.download import PUBLIC_FILES, PublicFile, download
from maskrcnn.training.progress import DownloadLine

CONTENT = bytes(range(256)) * 3000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = f"weights-{DIGEST[:8]}.pth"


class Server:
    """Answers with CONTENT, ranges included, unless one of `behaviours` does it, each for one request."""

    def __init__(self) -> None:
        self.behaviours, self.asked = [], []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.asked.append(self.headers.get("Range"))
                with contextlib.suppress(OSError):  # the client may hang up
                    (server.behaviours.pop(0) if server.behaviours else answer)(self)
                self.close_connection = True

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def file(self) -> PublicFile:
        return PublicFile(f"http://127.0.0.1:{self.http.server_port}/{NAME}", "torchvision", "a test")

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def send(handler, code: int, body: bytes, **headers: object) -> None:
    """A response with these headers and, if nothing else is said, the length of the body."""
    handler.send_response(code)
    for name, value in {"Content_Length": len(body), **headers}.items():
        if value is not None:
            handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()


def answer(handler) -> None:
    """An honest server."""
    asked = handler.headers.get("Range")
    start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
    if start >= len(CONTENT):
        send(handler, 416, b"", Content_Range=f"bytes */{len(CONTENT)}")
    elif asked:
        content_range = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        send(handler, 206, CONTENT[start:], Content_Range=content_range)
    else:
        send(handler, 200, CONTENT)


def says(code: int, body: bytes, **headers: object):
    """A server that always answers so."""
    return lambda handler: send(handler, code, body, **headers)


def dies_after(count: int):
    """A server that sends `count` bytes of what it has announced, from where it was asked to, and hangs up."""

    def behave(handler) -> None:
        asked = handler.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        rest = len(CONTENT) - start
        content_range = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}" if asked else None
        body = CONTENT[start : start + count]
        send(handler, 206 if asked else 200, body, Content_Length=rest, Content_Range=content_range)

    return behave


def stalls(handler) -> None:
    """A server that sends a little and then nothing."""
    send(handler, 200, CONTENT[:1000], Content_Length=len(CONTENT))
    time.sleep(0.6)


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(downloading, "PAUSE", 0.0)
    server = Server()
    yield server
    server.close()


def refused(server, folder, error=ValueError) -> str:
    """The one line that is said, and nothing lies under the file's name."""
    with pytest.raises(error) as raised:
        download(server.file, folder)
    assert not (folder / NAME).exists() and "\n" not in str(raised.value)
    return str(raised.value)


# The table


@pytest.mark.parametrize("name", PUBLIC_FILES)
def test_every_published_file_is_fetched_safely_and_can_be_checked(name):
    file = PUBLIC_FILES[name]
    assert file.url.startswith("https://") and file.family in ("torchvision", "mmdetection", "detectron2")
    assert len(file.digest) == (64 if file.sha256 else 8) and set(file.digest) <= set("0123456789abcdef")
    assert file.sha256 or file.name.endswith((f"-{file.digest}.pth", f"-{file.digest}.pkl"))


# An honest server


def test_a_file_arrives(server, tmp_path):
    told = []
    path = download(server.file, tmp_path / "new" / "folder", lambda done, total: told.append((done, total)))
    assert path == tmp_path / "new" / "folder" / NAME and path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == [NAME] and server.asked == [None]
    assert told[0] == (0, len(CONTENT)) and told[-1] == (len(CONTENT), len(CONTENT))


def test_a_file_that_is_there_is_checked_and_not_fetched_again(server, tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT)
    assert download(server.file, tmp_path) == tmp_path / NAME and server.asked == []
    (tmp_path / NAME).write_bytes(b"mine")
    with pytest.raises(ValueError, match=rf"{NAME}: found SHA-256 \w{{16}}\.\.\., expected {DIGEST[:8]}; remove it"):
        download(server.file, tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"mine"


@pytest.mark.parametrize("kept", [1, 1000, len(CONTENT) - 1, len(CONTENT)])
def test_what_an_earlier_run_has_left_is_used(server, tmp_path, kept):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:kept])
    download(server.file, tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT and server.asked == [f"bytes={kept}-"]


def test_a_whole_sum_is_checked_as_a_whole(server, tmp_path):
    whole = PublicFile(server.file.url, "detectron2", "a test", DIGEST)
    download(whole, tmp_path)
    almost = PublicFile(server.file.url, "detectron2", "a test", DIGEST[:-1] + ("0" if DIGEST[-1] != "0" else "1"))
    with pytest.raises(ValueError, match="expected " + almost.digest):
        download(almost, tmp_path)


# A server that dies, stalls, or is not there


def test_a_connection_that_breaks_is_taken_up_where_it_was(server, tmp_path):
    server.behaviours = [dies_after(300_000), dies_after(100_000)]
    download(server.file, tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=400000-"]


def test_a_server_that_always_dies_is_given_up_and_the_next_run_goes_on(server, tmp_path):
    server.behaviours = [dies_after(1000)] * downloading.ATTEMPTS
    message = refused(server, tmp_path, OSError)
    assert "the connection ended after 5,000 of 768,000 bytes, 5 times; 5,000 bytes are kept" in message
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:5000]
    download(server.file, tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT and server.asked[-1] == "bytes=5000-"


def test_a_server_that_falls_silent_is_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "TIMEOUT", 0.2)
    server.behaviours = [stalls]
    download(server.file, tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT and server.asked == [None, "bytes=1000-"]
    (tmp_path / NAME).unlink()
    server.behaviours = [lambda handler: time.sleep(0.5)] * 5
    assert "the server said nothing for 0.2 s, 5 times; 0 bytes are kept" in refused(server, tmp_path, OSError)


def test_nobody_listens(server, tmp_path):
    server.close()
    assert "refused" in refused(server, tmp_path, OSError)
    server.close = lambda: None


def test_errors_that_may_pass_are_waited_for_and_others_are_not(server, tmp_path):
    server.behaviours = [says(503, b"later"), says(500, b"")]
    download(server.file, tmp_path)
    assert server.asked == [None] * 3
    (tmp_path / NAME).unlink()
    server.behaviours = [says(404, b"<html>")]
    assert refused(server, tmp_path).endswith("the server answers 404 Not Found")


# A server that lies


def test_another_file_is_refused_and_nothing_of_it_is_kept(server, tmp_path):
    server.behaviours = [says(200, b"<!DOCTYPE html><html>Please log in</html>")]
    message = refused(server, tmp_path)
    assert "what it sends begins b'<!DOCTYPE html><html'" in message and f"expected {DIGEST[:8]}" in message
    assert (tmp_path / f"{NAME}.part").read_bytes() == b""


def test_one_wrong_byte_is_noticed(server, tmp_path):
    server.behaviours = [says(200, CONTENT[:-1] + b"\0")]
    refused(server, tmp_path)


@pytest.mark.parametrize("length", [1000, 0])
def test_a_length_that_is_too_small_cuts_the_file(server, tmp_path, length):
    server.behaviours = [says(200, CONTENT, Content_Length=length)]
    assert "not the published file" in refused(server, tmp_path)


def test_a_length_that_is_too_large_is_a_broken_connection(server, tmp_path):
    server.behaviours = [says(200, CONTENT, Content_Length=len(CONTENT) + 5)]
    download(server.file, tmp_path)  # whose rest, asked for, is not there
    assert (tmp_path / NAME).read_bytes() == CONTENT and server.asked == [None, f"bytes={len(CONTENT)}-"]


def test_no_length_at_all(server, tmp_path):
    server.behaviours = [says(200, CONTENT, Content_Length=None)]
    download(server.file, tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_size_that_no_file_of_weights_has_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "LARGEST", 500_000)
    assert "sends more than 500,000 bytes" in refused(server, tmp_path)
    server.behaviours = [says(200, CONTENT, Content_Length=None)]  # also one that is not announced
    assert "sends more than 500,000 bytes" in refused(server, tmp_path)


def test_a_server_that_knows_no_ranges_sends_everything(server, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:4000])
    server.behaviours = [says(200, CONTENT)]
    download(server.file, tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("content_range", ["bytes 0-9/10", "bytes x", None])
def test_another_range_than_was_asked_for_starts_anew(server, tmp_path, content_range):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:4000])
    server.behaviours = [says(206, CONTENT[:10], Content_Range=content_range)]
    download(server.file, tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT and server.asked == ["bytes=4000-", None]


@pytest.mark.parametrize("left", [b"something else", CONTENT + b"more"])
def test_a_bad_part_of_an_earlier_run_is_thrown_away(server, tmp_path, left):
    (tmp_path / f"{NAME}.part").write_bytes(left)
    download(server.file, tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT and server.asked == [f"bytes={len(left)}-", None]


def test_a_server_that_lies_and_breaks_off_is_not_asked_for_ever(server, tmp_path):
    wrong = says(200, b"x" * 10, Content_Length=20)
    rest = says(206, b"x" * 10, Content_Range="bytes 10-19/20")
    server.behaviours = [wrong, rest] * 10
    assert "not the published file" in refused(server, tmp_path)
    assert len(server.asked) == 4


# Redirections


def test_a_redirection_on_the_same_terms_is_followed(server, tmp_path):
    server.behaviours = [says(302, b"", Location="/elsewhere")]
    download(server.file, tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_a_redirection_elsewhere_is_not(server, tmp_path, target):
    server.behaviours = [says(302, b"", Location=target)]
    message = refused(server, tmp_path)
    assert "redirects to" in message or "not allowed" in message


def test_a_redirection_from_https_to_http_is_not_followed():
    request = downloading.urllib.request.Request("https://example.org/a")
    with pytest.raises(ValueError, match=r"redirects to 'http://example\.org/a', expected https"):
        downloading.SafeRedirects().redirect_request(request, None, 302, "", {}, "http://example.org/a")


# Disks and other processes


def test_a_full_disk_says_so_and_keeps_what_has_arrived(server, tmp_path, monkeypatch):
    class FullDisk(io.FileIO):
        def write(self, data):
            room = 1000 - self.tell()
            if room <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data[:room])

    real = open

    def open_on_a_full_disk(file, *mode, **how):
        return FullDisk(file, "r+") if how else real(file, *mode)

    monkeypatch.setattr(downloading, "open", open_on_a_full_disk, raising=False)
    message = refused(server, tmp_path, OSError)
    assert message == f"{tmp_path / NAME}: cannot be saved: No space left on device; what has arrived is kept"
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:1000]
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    download(server.file, tmp_path)
    assert server.asked == [None, "bytes=1000-"]


def test_a_folder_that_cannot_be(server, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=r"file/weights-\w+\.pth: cannot be saved: (File exists|Not a directory)"):
        download(server.file, tmp_path / "file")
    assert server.asked == []


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="no links on this system")
def test_a_link_in_the_place_of_the_part_is_not_followed(server, tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / f"{NAME}.part").symlink_to(tmp_path / "precious")
    refused(server, tmp_path, OSError)
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.skipif(downloading.fcntl is None, reason="no locks on this system")
def test_two_at_once_do_not_write_into_one_another(server, tmp_path):
    started, go_on = threading.Event(), threading.Event()

    def slow(handler) -> None:
        started.set()
        assert go_on.wait(10)
        answer(handler)

    server.behaviours = [slow]
    first = threading.Thread(target=download, args=(server.file, tmp_path))
    first.start()
    assert started.wait(10)
    with pytest.raises(ValueError, match=r"\.part: another process is fetching it"):
        download(server.file, tmp_path)
    go_on.set()
    first.join()
    assert (tmp_path / NAME).read_bytes() == CONTENT and os.listdir(tmp_path) == [NAME]


@pytest.mark.skipif(downloading.fcntl is None, reason="no locks on this system")
def test_a_part_that_got_its_name_while_it_was_being_opened_is_left_alone(server, tmp_path, monkeypatch):
    """The lock of the process that finished is free again; but the file behind it is no part any more."""
    lock, part = downloading.fcntl.flock, tmp_path / f"{NAME}.part"
    part.write_bytes(CONTENT)

    def finish_first(file, operation) -> None:
        if part.exists() and not (tmp_path / "finished").exists():
            part.rename(tmp_path / "finished")
        lock(file, operation)

    monkeypatch.setattr(downloading.fcntl, "flock", finish_first)
    with downloading.locked(part) as file:
        file.write(b"new")
    assert (tmp_path / "finished").read_bytes() == CONTENT and part.read_bytes() == b"new"


# The command


def test_the_command_says_what_comes_next(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PUBLIC_FILES, "resnet50", server.file)
    said = run(capsys, "download", "resnet50", "--out", tmp_path)
    assert said.splitlines() == [
        f"{tmp_path / NAME}: its SHA-256 is the published one",
        f"import it: python -m maskrcnn import {tmp_path / NAME} --from torchvision --out resnet50.safetensors",
    ]
    server.behaviours = [says(404, b"")]
    assert mistake(capsys, "download", "resnet50", "--out", tmp_path / "other").startswith("http://127.0.0.1:")


def test_a_name_that_is_not_known_is_answered_with_the_nearest(capsys):
    assert mistake(capsys, "download", "resnet500").startswith("resnet500: no such file; nearest: resnet50, ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_progress_line(monkeypatch):
    clock = iter([0.0, 2.0, 4.0, 4.05, 6.0])
    monkeypatch.setattr("maskrcnn.training.progress.time.monotonic", lambda: next(clock))
    stream = Terminal()
    line = DownloadLine("weights.pth", stream)
    megabyte = 2**20
    for done in (10, 20, 30, 31, 50):  # the first ten were there before; the fourth comes too soon to be shown
        line.show(done * megabyte, 50 * megabyte)
    line.close()
    assert stream.getvalue().count("\r") == 4 and stream.getvalue().endswith("\n")
    assert "weights.pth  10.0 of 50.0 MiB  - left" in stream.getvalue()
    assert "weights.pth  20.0 of 50.0 MiB  0:06 left  5.0 MiB/s" in stream.getvalue()
    assert "weights.pth  50.0 of 50.0 MiB  0:00 left  6.7 MiB/s" in stream.getvalue()


def test_the_progress_line_without_a_terminal_or_a_length():
    stream = io.StringIO()
    line = DownloadLine("weights.pth", stream)
    line.show(2**20, None)
    line.show(2**21, None)  # within five seconds
    line.close()
    assert stream.getvalue().startswith("weights.pth  1.0") and stream.getvalue().count("\n") == 1
