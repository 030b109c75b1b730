"""The single checks of a load test: targets told apart, tones, texts, verdicts, addresses."""

from __future__ import annotations

import asyncio
import io
import itertools
import math
from pathlib import Path

import aiohttp
import av
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from models.mesh_warp import MeshWarpGenerator
from server.api_tokens import TokensApi
from server.bench.clip import BACKGROUND, encode_opus
from server.bench.driver import Film
from server.bench.motion import PERIOD_S, motion_at, perform
from server.bench.terminal import SyntheticTerminal
from server.errors import UserError
from server.loadtest.calls import OWN_FACE, camera_view
from server.loadtest.pictures import CameraView, PictureJudge, Rgb, has_background, thumbnail
from server.loadtest.results import Bounds, PeerResult, Spread
from server.loadtest.service import Access, Address
from server.loadtest.sound import TONES, ToneEar
from server.loadtest.texts import TextLedger
from server.media.colour import rgb_to_i420
from server.targets.store import TargetStore
from signaling.protocol import Welcome
from signaling.tokens import verify
from tests.load.conftest import Serve

GOOD = {
    "name": "a",
    "room": "r",
    "target": "maeve",
    "seconds": 10.0,
    "fps": 29.0,
    "freeze_s": 0.2,
    "looked": 9,
    "right": 9,
    "sections": 2,
    "marked": 2,
    "listened": 4,
    "heard": 4,
    "sound_lost": 0.0,
    "texts_sent": 9,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TargetStore:
    return TargetStore(tmp_path_factory.mktemp("targets"))


@pytest.fixture(scope="module")
def previews(store: TargetStore) -> dict[str, Rgb]:
    return {
        record.id: np.array(Image.open(io.BytesIO(store.thumbnail(record.id))).convert("RGB"))
        for record in store.built_ins()
    }


def test_every_target_is_known_while_it_moves_and_taken_for_no_camera(
    store: TargetStore, previews: dict[str, Rgb], film: Film
) -> None:
    generator = MeshWarpGenerator(256)
    small = {id: thumbnail(picture) for id, picture in previews.items()}
    camera = camera_view(film)
    for id in set(previews) - {OWN_FACE}:
        target = store.load(id)
        features = generator.encode_target(target.images, target.landmarks)
        for moment in np.linspace(0, PERIOD_S, 5, endpoint=False):
            shown = perform(target.landmarks[0], motion_at(float(moment)))
            picture = generator.generate([features], shown[None])[0]
            assert PictureJudge(id, small, camera).look(picture) == id


def test_a_picture_of_nothing_known_is_no_target(previews: dict[str, Rgb]) -> None:
    small = {id: thumbnail(picture) for id, picture in previews.items()}
    judge = PictureJudge("maeve", small, CameraView([]))
    assert judge.look(np.full((256, 256, 3), 128, np.uint8)) == "unknown"
    mixed = previews["maeve"] // 2 + previews["tomas"] // 2
    assert judge.look(mixed) == "unknown"
    assert judge.finish().right == 0


def test_a_still_is_looked_at_for_the_camera_alone(previews: dict[str, Rgb], film: Film) -> None:
    small = {id: thumbnail(picture) for id, picture in previews.items()}
    judge = PictureJudge("maeve", small, camera_view(film))
    card = np.zeros((256, 256, 3), np.uint8)
    assert judge.look(card, generated=False) == "still"
    card[:60, :60] = (250, 5, 250)  # a corner of the camera's background
    assert judge.look(card, generated=False) == "camera"
    assert (judge.looked.stills, judge.looked.camera, judge.looked.pictures) == (1, 1, 0)


def test_the_cameras_background_is_found_in_any_picture(previews: dict[str, Rgb]) -> None:
    def coded(picture: Rgb) -> av.VideoFrame:
        return av.VideoFrame.from_ndarray(rgb_to_i420(picture), format="yuv420p")

    for preview in previews.values():
        assert not has_background(coded(preview))
        leaked = preview.copy()
        leaked[:48, :48] = BACKGROUND
        assert has_background(coded(leaked))


def test_neighbours_tones_are_told_apart() -> None:
    for mine, theirs in itertools.pairwise(TONES):
        ear, wrong = ToneEar(theirs), ToneEar(mine)
        for number, packet in enumerate(encode_opus(1.0, hertz=theirs)):
            ear.take(packet, number * 0.02)
            wrong.take(packet, number * 0.02)
        assert (ear.listened, ear.heard) == (1, 1)
        assert (wrong.listened, wrong.heard) == (1, 0)


def test_lost_sound_is_a_share_of_what_time_should_have_brought() -> None:
    ear = ToneEar(440)
    assert ear.lost(1.0) == 1.0
    packets = encode_opus(2.0, hertz=440)
    for number, packet in enumerate(packets):
        if number % 4:
            ear.take(packet, number * 0.02)
    assert ear.lost(len(packets) * 0.02) == pytest.approx(0.25, abs=0.02)


def test_texts_that_are_lost_doubled_or_late_are_found() -> None:
    ledger = TextLedger()
    texts = [ledger.write(float(at)) for at in range(5)]
    for text, at in ((texts[0], 0.1), (texts[2], 2.1), (texts[1], 2.2), (texts[2], 2.3), ("hello", 3.0)):
        ledger.read(text, at)
    assert (ledger.lost, ledger.doubled, ledger.disordered, ledger.strange) == (2, 1, 1, 1)
    assert ledger.delays == pytest.approx([0.1, 0.1, 1.2])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seconds": math.nan}, "never in a call"),
        ({"fps": math.nan}, "no generated picture"),
        ({"fps": 9.0}, "9.0 pictures"),
        ({"freeze_s": 3.0}, "froze for 3.0 s"),
        ({"looked": 0, "right": 0}, "no picture could be looked at"),
        ({"right": 8, "shown_instead": ["tomas"]}, "tomas 1x"),
        ({"camera": 1}, "OWN CAMERA"),
        ({"unmoved": 2}, "does not move"),
        ({"marked": 1}, "no watermark in 1 of 2"),
        ({"heard": 3}, "3 of 4 times"),
        ({"listened": 0, "heard": 0}, "0 of 0 times"),
        ({"sound_lost": 0.3}, "30 % of the sound"),
        ({"sound_lost": math.nan}, "of the sound"),
        ({"texts_lost": 1}, "1 lost"),
        ({"texts_wrong": 1}, "1 wrong"),
        ({"lost": {"refused worker_busy": 2}}, "refused worker_busy (2)"),
        ({"lost": {"connection_lost": 1, "resumed": 1}}, "connection_lost (1)"),
    ],
)
def test_each_fault_has_a_sentence(change: dict[str, object], sentence: str) -> None:
    assert PeerResult(**GOOD).wrong(Bounds()) == []  # type: ignore[arg-type]
    (fault,) = PeerResult(**{**GOOD, **change}).wrong(Bounds())  # type: ignore[arg-type]
    assert sentence in fault


def test_spread_leaves_out_what_was_not_measured() -> None:
    spread = Spread.of([math.nan, *range(1, 102)])
    assert (spread.p50, spread.least, spread.most) == (51, 1, 101)
    assert math.isnan(Spread.of([math.nan]).p50)


def test_addresses() -> None:
    assert Address.of("https://meet.example.org/?room=x").ws == "wss://meet.example.org/ws"
    assert Address.of("localhost:8080").http == "http://localhost:8080"
    for wrong in ("ftp://example.org", "http://[::1", ""):
        with pytest.raises(UserError, match="address of the page"):
            Address.of(wrong)


def test_film_for_the_camera_view_is_what_is_sent(film: Film, tmp_path: Path) -> None:
    view = camera_view(film, every=5)
    small = thumbnail(np.full((48, 64, 3), (255, 0, 255), np.uint8))
    assert view.is_shown(np.full((48, 64, 3), (255, 0, 255), np.uint8), small)


async def test_a_token_is_minted_for_each_room_also_when_told_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.loadtest.service._AGAIN_S", 0.01)
    asked: list[str] = []
    key = "k" * 32

    async def mint(request: web.Request) -> web.Response:
        asked.append(request.headers["Authorization"])
        if len(asked) == 1:
            return web.json_response({"error": {"code": "rate_limited", "message": "Later."}}, status=429)
        if len(asked) == 2:
            assert request.transport is not None
            request.transport.close()  # as by a node that is restarted
        return await TokensApi(key).create(request)

    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"error": {"code": "unauthorised", "message": "Wrong key."}}, status=401)

    app = web.Application()
    app.router.add_post("/api/tokens", mint)
    app.router.add_post("/closed/api/tokens", refuse)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        address = Address(f"http://127.0.0.1:{server.port}", "")
        token = await Access(api_key="a").token_for(http, address, "load-3")
        assert token is not None
        assert verify(key, token).room == "load-3"
        assert asked == ["Bearer a"] * 3
        assert await Access(token="given").token_for(http, address, "r") == "given"
        assert await Access().token_for(http, address, "r") is None
        with pytest.raises(UserError, match="Wrong key"):
            await Access(api_key="a").token_for(http, Address(f"{address.http}/closed", ""), "r")
        monkeypatch.setattr("server.loadtest.service._ATTEMPTS", 2)
    async with aiohttp.ClientSession() as http:
        with pytest.raises(UserError, match="cannot be reached"):
            await Access(api_key="a").token_for(http, address, "r")


async def test_a_lost_connection_is_counted_and_come_back_from(serve: Serve) -> None:
    service = await serve()
    returned = asyncio.Event()

    async def handle(message: object, at: float) -> None:
        if isinstance(message, Welcome):
            returned.set()

    terminal = SyntheticTerminal("Ada", handle)
    async with aiohttp.ClientSession() as http:
        await terminal.enter(http, Address.of(service.url).ws)
        before = terminal.id
        assert terminal._socket is not None
        await terminal._socket.close()
        await asyncio.wait_for(returned.wait(), 10)
        assert terminal.id == before
        await terminal.leave()
    assert terminal.tally == {"connection_lost": 1, "resumed": 1}
