"""The wire protocol: what is taken, what is refused and how, and that what is forwarded still fits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signaling.protocol import (
    MAX_MESSAGE_BYTES,
    SERVER_MESSAGE,
    TERMINAL_MESSAGE,
    WORKER_COMMAND,
    WORKER_MESSAGE,
    ErrorCode,
    MediaReply,
    ProtocolError,
    SessionDescription,
    SessionSignal,
    decode,
    encode,
)

ADAPTERS = [TERMINAL_MESSAGE, SERVER_MESSAGE, WORKER_MESSAGE, WORKER_COMMAND]


def refused(text: str | bytes) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        decode(TERMINAL_MESSAGE, text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "code", "re"),
    [
        ("", ErrorCode.MALFORMED, None),
        ("{", ErrorCode.MALFORMED, None),
        ("[]", ErrorCode.MALFORMED, None),
        ("[" * 20_000, ErrorCode.MALFORMED, None),
        (b"\xff\xfe", ErrorCode.MALFORMED, None),
        ('{"id":"a"}', ErrorCode.MALFORMED, "a"),
        ('{"type":"nonsense","id":"a"}', ErrorCode.MALFORMED, "a"),
        ('{"type":"ping","id":"not an id"}', ErrorCode.MALFORMED, None),
        ('{"type":"ping","id":7}', ErrorCode.MALFORMED, None),
        ('{"type":"hello","id":"a"}', ErrorCode.MALFORMED, "a"),
        ('{"type":"hello","name":"   "}', ErrorCode.MALFORMED, None),
        ('{"type":"hello","name":"\\ud800"}', ErrorCode.MALFORMED, None),
        ('{"type":"room.join","room":"../etc"}', ErrorCode.MALFORMED, None),
        ('{"type":"worker.load","drivers":0,"load":0}', ErrorCode.MALFORMED, None),
        ('{"v":2,"type":"ping","id":"a"}', ErrorCode.VERSION_UNSUPPORTED, "a"),
        ('{"v":2,"type":"of the future"}', ErrorCode.VERSION_UNSUPPORTED, None),
        ('{"type":"text.send","text":"' + "x" * MAX_MESSAGE_BYTES + '"}', ErrorCode.TOO_LARGE, None),
        ('{"type":"media.signal","channel":"publish","session":"s"}', ErrorCode.MALFORMED, None),
        (
            '{"type":"media.signal","channel":"subscribe","session":"s","description":'
            '{"type":"offer","sdp":""}}',
            ErrorCode.MALFORMED,
            None,
        ),
        (
            '{"type":"media.signal","channel":"publish","session":"s","description":'
            '{"type":"answer","sdp":""}}',
            ErrorCode.MALFORMED,
            None,
        ),
    ],
)
def test_refusals(text: str | bytes, code: ErrorCode, re: str | None) -> None:
    error = refused(text)
    assert (error.code, error.re) == (code, re)


def test_refusals_do_not_repeat_what_was_sent() -> None:
    for text in (
        '{"type":"secret-value"}',
        '{"type":"ping","secret-value":1}',
        '{"type":"hello","name":{"secret-value":1}}',
        '{"type":"room.join","room":"secret-value!"}',
        '{"type":"relay.request","to":["secret-value!"]}',
    ):
        message = refused(text).message
        assert "secret-value" not in message
        assert len(message) < 200


def test_size_is_counted_in_bytes() -> None:
    text = json.dumps({"type": "hello", "name": "x", "token": "\u20ac" * 30_000}, ensure_ascii=False)
    assert len(text) < MAX_MESSAGE_BYTES
    assert refused(text).code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("character", ["a", "\n", '"', "\x01", "\u20ac", "\U0001f600"])
def test_whatever_sdp_comes_in_fits_a_message_when_passed_on(character: str) -> None:
    """The largest SDP of any characters that is taken at all still fits with the fields added to it."""
    low, high = 1, 48 * 1024
    while low < high:
        count = (low + high + 1) // 2
        try:
            SessionDescription(type="offer", sdp=character * count)
            low = count
        except ValueError:
            high = count - 1
    description = SessionDescription(type="offer", sdp=character * low)
    ids = {"session": "s" * 64, "peer": "p" * 64}
    for message in (
        SessionSignal(terminal="t" * 64, channel="subscribe", description=description, **ids),
        MediaReply(re="r" * 64, channel="subscribe", description=description, **ids),
    ):
        assert len(encode(message).encode()) <= MAX_MESSAGE_BYTES


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
types = st.sampled_from(
    ["hello", "room.join", "relay.request", "media.signal", "text.send", "worker.hello", "worker.signal", "x"]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    message=st.dictionaries(
        st.sampled_from(["id", "name", "room", "to", "session", "description", "candidate", "v", "text"]),
        json_values,
    ),
    kind=types,
)
def test_anything_json_is_taken_or_refused(message: dict[str, Any], kind: str) -> None:
    for adapter in ADAPTERS:
        try:
            taken = decode(adapter, json.dumps({**message, "type": kind}))
        except ProtocolError:
            continue
        assert decode(adapter, encode(taken)) == taken


@settings(deadline=None)
@given(st.binary() | st.text())
def test_anything_at_all_is_taken_or_refused(text: bytes | str) -> None:
    for adapter in ADAPTERS:
        with pytest.raises(ProtocolError):
            decode(adapter, text)
