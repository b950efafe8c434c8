"""JSON lines: whatever arrives, in whatever portions, messages come out and nothing breaks."""

from __future__ import annotations

import json
import random
import resource

import pytest

from blender_3r.engine import protocol


def test_a_message_survives_any_cut():
    messages = [{"type": "progress", "id": 1, "stage": 'Größe 写真 \u2028\n\t"quoted"'}, {"type": "quit"}]
    data = b"".join(protocol.encode(m["type"], **{k: v for k, v in m.items() if k != "type"}) for m in messages)
    assert data.count(b"\n") == 2
    for size in (1, 2, 3, 7, 1000):
        decoder = protocol.Decoder()
        received = [m for i in range(0, len(data), size) for m in decoder.feed(data[i : i + size])]
        assert received == messages
        assert decoder.rejected == []


def test_many_messages_in_one_portion():
    decoder = protocol.Decoder()
    data = b"".join(protocol.encode("view", index=i) for i in range(1000))
    assert [m["index"] for m in decoder.feed(data)] == list(range(1000))


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"\xff\xfe\x00\x01",
        b"{",
        b'{"type": 3}',
        b'{"kind": "view"}',
        b'["type"]',
        b"null",
        b"[" * 100_000,
        b'{"type": "view", "index": NaN',
    ],
)
def test_a_line_that_is_no_message_is_kept_aside(line):
    decoder = protocol.Decoder()
    assert decoder.feed(line + b"\n" + protocol.encode("quit")) == [{"type": "quit"}]
    assert len(decoder.rejected) == 1
    assert len(decoder.rejected[0]) < 300


def test_empty_lines_and_carriage_returns_are_no_garbage():
    decoder = protocol.Decoder()
    assert decoder.feed(b'\n\r\n  \n{"type": "quit"}\r\n') == [{"type": "quit"}]
    assert decoder.rejected == []


def test_a_hundred_megabytes_without_a_newline_take_no_memory():
    decoder = protocol.Decoder()
    portion = b"x" * (1 << 16)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1600):
        assert decoder.feed(portion) == []
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 20_000  # kilobytes
    assert decoder.feed(b"\n" + protocol.encode("quit")) == [{"type": "quit"}]
    assert len(decoder.rejected) == 1
    assert "too long" in decoder.rejected[0]


def test_a_long_line_ends_inside_a_portion_with_messages():
    decoder = protocol.Decoder()
    line = b'{"type": "log", "text": "' + b"y" * protocol.MAX_LINE + b'"}\n'
    data = protocol.encode("view", index=1) + line + protocol.encode("view", index=2)
    cut = len(data) - 5
    assert [m["index"] for m in decoder.feed(data[:cut]) + decoder.feed(data[cut:])] == [1, 2]


def test_random_noise_never_raises():
    source = random.Random(5)
    decoder = protocol.Decoder()
    for _ in range(300):
        noise = bytes(source.choice(b'{}[]",:\n\\\x00\xff019etypu') for _ in range(source.randrange(200)))
        decoder.feed(noise)
    assert decoder.feed(b"\n" + protocol.encode("quit"))[-1] == {"type": "quit"}
    assert len(decoder.rejected) <= 20


def test_what_json_cannot_hold_is_refused_when_sent():
    with pytest.raises(ValueError, match="JSON compliant"):
        protocol.encode("progress", fraction=float("nan"))
    with pytest.raises(TypeError):
        protocol.encode("view", index=b"3")
    assert json.loads(protocol.encode("view", index=3)) == {"type": "view", "index": 3}
