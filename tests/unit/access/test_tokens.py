"""Join tokens: what is minted is read back; nothing else is."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import UserError
from server.token_command import make_token
from signaling.protocol import ErrorCode
from signaling.tokens import AUDIENCE, MAX_TTL_S, TokenDenied, mint, verify

KEY = "k" * 32
OTHER = "o" * 32
GOOD: dict[str, Any] = {"aud": AUDIENCE, "exp": time.time() + 1000, "jti": "j1", "role": "guest", "room": "r"}


def signed(key: str = KEY, algorithm: str = "HS256", **changes: Any) -> str:
    """A token of any claims; None leaves one out."""
    claims = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm)


def why(token: str, key: str = KEY) -> ErrorCode:
    with pytest.raises(TokenDenied) as caught:
        verify(key, token)
    return caught.value.denied.code


def test_what_is_minted_is_read_back() -> None:
    token, said = mint(KEY, room="quiet-heron", name="Ada", ttl_s=60)
    grant = verify(KEY, token)
    assert grant == said
    assert (grant.room, grant.name, grant.role) == ("quiet-heron", "Ada", "guest")
    assert 50 < grant.expires_at - time.time() <= 60
    assert mint(KEY, room="quiet-heron", ttl_s=60)[1].id != said.id


def test_guests_go_to_their_room_and_hosts_anywhere() -> None:
    guest = mint(KEY, room="a", ttl_s=60)[1]
    host = mint(KEY, room=None, role="host", ttl_s=60)[1]
    assert [guest.admits("a"), guest.admits("b")] == [True, False]
    assert [host.admits("a"), host.admits("b")] == [True, True]


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        signed(OTHER),
        signed(aud="something else"),
        signed(aud=None),
        signed(exp=None),
        signed(jti=None),
        signed(role=None),
        signed(role="admin"),
        signed(room=None),
        signed(room="../etc"),
        signed(name="n" * 65),
        signed(jti="no spaces"),
        signed(exp="soon"),
        signed(exp=1e400),
        signed(KEY * 2, "HS512"),
        signed() + "x",
        signed().rpartition(".")[0] + ".",
    ],
)
def test_anything_else_is_refused(token: str) -> None:
    assert why(token) == "token_refused"


def test_unsigned_tokens_are_refused() -> None:
    """The algorithm of the header is the sender's own words (RFC 8725, section 3.1)."""
    claims = signed().split(".")[1]
    for algorithm in ("none", "None", "HS256"):
        header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
        assert why(f"{header.decode().rstrip('=')}.{claims}.") == "token_refused"


def test_expired_tokens_are_told_apart_but_only_if_they_were_ours() -> None:
    old = time.time() - 100
    assert why(signed(exp=old)) == "token_expired"
    assert why(signed(OTHER, exp=old)) == "token_refused"
    verify(KEY, signed(exp=time.time() - 3))  # clocks are never quite together


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_passes(place: int, change: int) -> None:
    token = bytearray(signed().encode())
    place %= len(token)
    token[place] ^= change
    try:
        text = token.decode()
    except UnicodeDecodeError:
        return
    if text.rstrip("=") == signed().rstrip("="):
        return
    try:
        grant = verify(KEY, text)
    except TokenDenied:
        return
    # The last character of base64 has bits that say nothing.
    assert place == len(token) - 1
    assert grant.id == "j1"


@given(st.text(max_size=200))
def test_any_text_is_refused_in_words(text: str) -> None:
    assert why(text) == "token_refused"


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": "short"},
        {"ttl_s": 0},
        {"ttl_s": MAX_TTL_S + 1},
        {"room": "no room"},
        {"room": None},
        {"name": "n" * 65},
        {"name": "  "},
    ],
)
def test_what_makes_no_sense_is_not_minted(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        mint(**{"key": KEY, "room": "r", "ttl_s": 60, **wrong})


@pytest.mark.parametrize(
    "url",
    [
        *("x.org", "x.org:8443", "notaurl:///", "https://", "https:///x", "ftp://x.org", "", "https://[::1"),
        *("https://x.org/?room=a#b", "https://x.org/#", "https://x.org:many", "https://x .org"),
    ],
)
def test_no_link_is_made_of_what_is_no_address_of_a_page(url: str) -> None:
    with pytest.raises(UserError, match="give the address of the page, as https://meet"):
        make_token(KEY, room="r", name=None, is_host=False, hours=1, url=url)


@pytest.mark.parametrize(
    "url", ["https://x.org", "http://localhost:8080/", "https://x.org/meet/", "http://[::1]:80"]
)
def test_a_link_goes_on_from_the_address(url: str) -> None:
    link = make_token(KEY, room="r", name=None, is_host=False, hours=1, url=url)
    assert link.startswith(f"{url.rstrip('/')}/?room=r#token=")
