"""Who gets in, as the state machine sees it: grants, denials, rooms, resuming; relays' credentials."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
from typing import Any

import pytest

from signaling.effects import Close, Record, Send
from signaling.grants import Admission, Denied, Grant
from signaling.protocol import CreateRoom, ErrorCode, Hello, IceServer, JoinRoom, MediaIce, Ping, SelectTarget
from signaling.state import Limits
from signaling.switchboard import Switchboard
from signaling.turn import TurnCredentials

GUEST = Grant("j1", "r", "Ada Lovelace", "guest", expires_at=100.0)
HOST = Grant("j2", None, None, "host", expires_at=100.0)
EXPIRED = Denied(ErrorCode.TOKEN_EXPIRED, "Too late.")


class Board:
    """A state machine by invitation, and what it said on each connection."""

    def __init__(self, **options: Any) -> None:
        tokens = itertools.count(1)
        options = {"by_invitation": True, "epoch": 1e9, **options}
        self.board = Switchboard(Limits(), lambda size: f"x{next(tokens)}", **options)
        self.records: list[Record] = []
        self.closed: list[int] = []

    def say(self, connection: int, message: Any, now: float = 0.0, admission: Admission = None) -> list[Any]:
        effects = self.board.receive(connection, message, now, admission)
        return self.take(effects, connection)

    def take(self, effects: list[Any], connection: int) -> list[Any]:
        self.records += [effect for effect in effects if isinstance(effect, Record)]
        self.closed += [effect.connection for effect in effects if isinstance(effect, Close)]
        return [e.message for e in effects if isinstance(e, Send) and e.connection == connection]


@pytest.mark.parametrize(("admission", "code"), [(None, "token_missing"), (EXPIRED, "token_expired")])
def test_without_a_grant_nobody_gets_in(admission: Admission, code: str) -> None:
    board = Board()
    (error,) = board.say(1, Hello(id="m1", name="Eve"), admission=admission)
    assert (error.code, error.re) == (code, "m1")
    assert board.closed == [1]
    assert board.board.state.terminals == {}
    assert [(r.event, r.name, r.detail, r.connection) for r in board.records] == [
        ("access.denied", "Eve", code, 1)
    ]
    (error,) = board.say(1, JoinRoom(room="r"))
    assert error.code == "hello_expected"


def test_resume_token_that_was_never_given_opens_nothing() -> None:
    board = Board()
    (error,) = board.say(1, Hello(name="Eve", resume="x1"))
    assert error.code == "token_missing"


def test_name_and_room_are_those_of_the_token() -> None:
    board = Board()
    (welcome,) = board.say(1, Hello(name="Somebody else"), admission=GUEST)
    assert (welcome.name, welcome.room) == ("Ada Lovelace", "r")
    (state,) = board.say(1, JoinRoom(room="r"))
    assert [member.name for member in state.members] == ["Ada Lovelace"]
    (again, *_) = board.say(2, Hello(name="Yet another", resume=welcome.resume))
    assert (again.resumed, again.name) == (True, "Ada Lovelace")
    assert next(iter(board.board.state.terminals.values())).name == "Ada Lovelace"


def test_guests_enter_their_room_alone() -> None:
    board = Board()
    board.say(1, Hello(name="Ada"), admission=GUEST)
    for message in (JoinRoom(room="other"), CreateRoom()):
        (error,) = board.say(1, message)
        assert error.code == "unauthorised"
    assert board.board.state.rooms == {}
    board.say(2, Hello(name="Hans"), admission=HOST)
    for message in (JoinRoom(room="other"), CreateRoom()):
        assert board.say(2, message)[-1].type == "room.state"


def test_expiry_ends_entering_not_calls() -> None:
    board = Board()
    welcome = board.say(1, Hello(name="Ada"), admission=GUEST)[0]
    board.say(1, JoinRoom(room="r"))
    (state,) = board.say(1, JoinRoom(room="r"), now=200.0)  # it is in there already
    assert state.type == "room.state"
    assert board.say(2, Hello(name="Ada", resume=welcome.resume), 200.0, EXPIRED)[0].resumed
    board.say(3, Hello(name="Hans"), admission=HOST)
    (error,) = board.say(3, JoinRoom(room="r"), now=100.0)
    assert error.code == "token_expired"


def test_new_token_at_a_resume_counts_from_then_on() -> None:
    board = Board()
    welcome = board.say(1, Hello(name="Ada"), admission=GUEST)[0]
    board.say(2, Hello(name="Ada", resume=welcome.resume), admission=HOST)
    assert board.say(2, JoinRoom(room="elsewhere"))[-1].room == "elsewhere"


def test_open_service_asks_for_nothing() -> None:
    board = Board(by_invitation=False)
    (welcome,) = board.say(1, Hello(name="Ada"))
    assert (welcome.name, welcome.room) == (None, None)
    assert board.say(1, CreateRoom())[-1].type == "room.state"


def test_what_an_audit_log_keeps() -> None:
    board = Board()
    board.say(1, Hello(name="Ada"), admission=GUEST)
    board.say(1, SelectTarget(target="astronaut"))
    board.say(1, SelectTarget(target="astronaut"))
    board.say(1, JoinRoom(room="r"))
    board.take(board.board.disconnected(1, 10.0), 1)
    board.take(board.board.tick(1000.0), 1)
    assert [(r.event, r.room, r.target, r.token) for r in board.records] == [
        ("terminal.arrived", None, None, "j1"),
        ("target.selected", None, "astronaut", "j1"),
        ("room.entered", "r", "astronaut", "j1"),
        ("room.left", "r", "astronaut", "j1"),
        ("terminal.gone", None, "astronaut", "j1"),
    ]


# ------------------------------------------------------------ relays

TURN = TurnCredentials(
    [IceServer(urls=["stun:s.example"])], urls=["turn:t.example"], secret="shared", ttl_s=600
)


def test_relay_credentials_are_those_that_coturn_computes() -> None:
    """draft-uberti-behave-turn-rest-00, section 2.2."""
    stun, turn = TURN.ice_servers("tAda", 1_000_000_000.7)
    assert (stun.urls, stun.username) == (["stun:s.example"], None)
    assert turn.username == "1000000600:tAda"
    digest = hmac.new(b"shared", turn.username.encode(), hashlib.sha1).digest()
    assert base64.b64decode(turn.credential or "") == digest


def test_each_terminal_gets_its_own_and_new_ones_in_time() -> None:
    board = Board(turn=TURN, by_invitation=False)
    first = board.say(1, Hello(name="Ada"))[0]
    second = board.say(2, Hello(name="Bob"))[0]
    names = [welcome.ice_servers[-1].username for welcome in (first, second)]
    assert names == [f"1000000600:{first.terminal}", f"1000000600:{second.terminal}"]
    for now in (299.0, 300.0, 300.5, 599.0, 600.0):
        for connection in (1, 2):
            board.say(connection, Ping(), now)
        said = board.take(board.board.tick(now), 1)
        assert [type(message) for message in said] == ([MediaIce] if now in (300.0, 600.0) else [])
        if said:
            assert said[0].ice_servers[-1].username == f"{1000000600 + int(now)}:{first.terminal}"


def test_relays_without_their_secret_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="secret"):
        TurnCredentials(urls=["turn:t.example"])
