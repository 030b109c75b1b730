"""From clips to a trained generator, small: what is kept, what is left out, and that a run can be resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import skimage.data
import torch
from typer.testing import CliRunner

from models.landmarks.registration import PhotoFace, Registration, shipped_registration
from models.marionette.network import NetworkConfig
from models.training import registration
from models.training.build import build_dataset
from models.training.cli import app as train_app
from models.training.clips import ClipOptions, ClipShard, find_clips
from models.training.generator import Phase, Trainer, TrainingConfig
from models.training.losses import coarse_l1, teach_flow, weighted_l1
from models.training.processes import Processes
from models.training.samples import ClipSamples, SampleOptions, load_people

OPTIONS = ClipOptions(size=96, fps=10, min_face=30)
TINY = TrainingConfig(
    network=NetworkConfig(size=64, width=4, attention_blocks=1, attention_channels=4),
    phases=[
        Phase(steps=3, size=64, batch=2, photos=2, taught_flow=1.0),
        Phase(steps=2, size=64, batch=2, adversarial=0.1),
    ],
    workers=0,
    bf16=False,
    log_steps=1,
    discriminator=[4, 8],
)


def write_video(path: Path, frames: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def moving_face(shift: float = 1.5, count: int = 8) -> list[np.ndarray]:
    face = cv2.resize(skimage.data.astronaut()[:200, 124:324], (256, 256))  # without the flag, half a face
    return [
        cv2.warpAffine(
            face,
            np.array([[1, 0, shift * index], [0.02 * (index % 3), 1, 0]], np.float32),
            (256, 256),
            borderMode=cv2.BORDER_REPLICATE,
        )
        for index in range(count)
    ]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VoxCeleb-style tree with two people and clips that cannot be used."""
    root = tmp_path_factory.mktemp("clips")
    write_video(root / "ann" / "v1" / "00001.mp4", moving_face())
    write_video(root / "bob" / "v1" / "00001.mp4", [frame[:, ::-1].copy() for frame in moving_face()])
    write_video(root / "bob" / "v1" / "noface.mp4", [np.full((256, 256, 3), 90, np.uint8)] * 8)
    write_video(root / "bob" / "v1" / "runaway.mp4", moving_face(shift=14))
    two = [np.concatenate([frame, frame[:, ::-1]], axis=1) for frame in moving_face()]
    write_video(root / "bob" / "v1" / "two.mp4", two)
    (root / "bob" / "v1" / "broken.mp4").write_bytes(b"no video")
    return root


@pytest.fixture(scope="module")
def data(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    build_dataset(tree, out, OPTIONS, workers=1)
    return out


def test_what_cannot_be_used_is_named_and_nothing_else_is_lost(data: Path) -> None:
    clips = {clip["name"]: clip for clip in json.loads((data / "report.json").read_text())["clips"]}
    reasons = {name: clip["left_out"] for name, clip in clips.items()}
    assert reasons["ann__v1__00001"] is None
    assert reasons["bob__v1__00001"] is None
    assert reasons["bob__v1__noface"] == "a face in 0 frames only"
    assert reasons["bob__v1__runaway"] == "the face moves out of its crop"
    assert reasons["bob__v1__two"] == "two faces"
    assert reasons["bob__v1__broken"].startswith("undecodable")
    shard = ClipShard(data / "shards" / "ann__v1__00001.safetensors")
    assert len(shard) == clips["ann__v1__00001"]["frames"] == 8
    assert shard.person == "ann"
    assert shard.frame(3).shape == (96, 96, 3)
    assert ((shard.landmarks[..., :2] > 0) & (shard.landmarks[..., :2] < 96)).all()


def test_a_build_goes_on_where_it_stopped(tree: Path, data: Path) -> None:
    shard = data / "shards" / "ann__v1__00001.safetensors"
    before = shard.stat().st_mtime_ns
    reports = build_dataset(tree, data, OPTIONS, workers=1)
    assert shard.stat().st_mtime_ns == before
    assert {report.name: report.frames for report in reports}["ann__v1__00001"] == 8


def test_people_of_a_tree_are_split_by_name_alone(tree: Path) -> None:
    splits = {clip.person: clip.split for clip in find_clips(tree)}
    assert splits == {clip.person: clip.split for clip in reversed(find_clips(tree))}
    with pytest.raises(ValueError, match="neither"):
        find_clips(tree / "bob" / "v1" / "nothing")


def test_clips_of_one_file_name_are_clips_of_their_own(tmp_path: Path) -> None:
    listing = tmp_path / "clips.csv"
    listing.write_text("clip,person,split\nann/0001.mp4,ann,train\nbob/0001.mp4,bob,dev\n")
    assert [(clip.name, clip.person) for clip in find_clips(tmp_path)] == [
        ("ann__0001", "ann"),
        ("bob__0001", "bob"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("clip,split\na.mp4,dev\n", "no column person"),
        ("", "no column clip, person, split"),
        ("clip,person,split\na.mp4,ann,train\na.mp4,bob,dev\n", "names a more than once"),
        ("clip,person,split\na.mp4,ann,test\n", "unknown split 'test'"),
    ],
)
def test_a_list_of_clips_that_cannot_be_used_is_refused(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(content)
    with pytest.raises(ValueError, match=said):
        find_clips(tmp_path)


def test_samples_depend_on_seed_and_index_alone(data: Path) -> None:
    people = load_people(data, ["train", "dev"])
    options = SampleOptions(size=64, photos=3)
    first = ClipSamples(people, options, length=9, seed=4)
    again = ClipSamples(people, options, length=9, seed=4)
    for name, value in again[7].items():
        torch.testing.assert_close(first[7][name], value)
    assert first[7]["photos"].shape == (3, 3, 64, 64)
    assert first[7]["present"][0]
    assert not torch.equal(first[7]["driver"], first[8]["driver"])


def test_the_face_counts_as_often_as_asked(data: Path) -> None:
    people = load_people(data, ["train", "dev"])
    for face in (1.0, 8.0):
        options = SampleOptions(size=64, augment=False, face=face)
        sample = ClipSamples(people, options, length=1, seed=1)[0]
        nose, corner = (sample["driver_landmarks"][1] * 64).int().tolist(), (0, 0)
        assert sample["weight"][0, nose[1], nose[0]] == pytest.approx(face, rel=0.02)
        assert sample["weight"][0, corner[1], corner[0]] == 1.0


def test_registered_samples_have_the_drivers_landmarks_where_skin_lies(data: Path) -> None:
    people = load_people(data, ["train", "dev"])
    plain, registered = (
        ClipSamples(people, SampleOptions(size=64, far=1.0, registered=told), length=3, seed=1)[2]
        for told in (False, True)
    )
    torch.testing.assert_close(registered["driver"], plain["driver"])
    torch.testing.assert_close(registered["photo_landmarks"], plain["photo_landmarks"])
    for told in ("driver_landmarks", "driver_maps"):
        assert not torch.allclose(registered[told], plain[told], atol=1e-4)
    moved = (registered["driver_landmarks"] - plain["driver_landmarks"]).norm(dim=1)
    assert moved.max() < 0.1  # of the picture


def test_a_registration_is_learned_from_a_dataset(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "registration.safetensors"
    command = ["registration", "--data", str(data), "--out", str(out), "--pairs", "64", "--workers", "1"]
    done = CliRunner().invoke(train_app, command)
    assert done.exit_code == 0, done.output
    landmarks = load_people(data, ["train", "dev"])[0][0].landmarks
    shift = Registration.load(out).shift(PhotoFace.of(landmarks[0]), landmarks[-1])
    assert np.isfinite(shift).all()
    assert np.abs(shift).max() > 0

    missing = CliRunner().invoke(train_app, [*command[:2], str(tmp_path / "nothing"), *command[3:]])
    assert missing.exit_code == 2
    assert "holds no shard" in missing.output
    unread = CliRunner().invoke(train_app, [*command, "--through", str(tmp_path / "nothing.safetensors")])
    assert unread.exit_code == 2
    assert "nothing.safetensors" in unread.output


def test_through_a_network_its_own_registration_counts_as_found(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its pictures need no more moving, the skin is where it was told that it is."""
    monkeypatch.setattr(registration, "skin_shifts", lambda made, filmed, points: np.zeros((len(points), 2)))
    weights = Path(__file__).parents[3] / "models" / "weights" / "generator-lite.safetensors"
    pairs = registration.collect_pairs(data, "train", 2, 1, through=weights, workers=1)
    told = [
        shipped_registration().shift(PhotoFace.of(photo), shown)
        for photo, shown in zip(pairs.photos, pairs.shown, strict=True)
    ]
    assert np.abs(told).max() > 0.1
    np.testing.assert_allclose(pairs.shifts, told, atol=1e-5)


def test_mirrored_landmarks_lie_on_the_mirrored_face(data: Path) -> None:
    """Left stays left of right in every augmented sample: the permutation goes with the picture."""
    people = load_people(data, ["train", "dev"])
    samples = ClipSamples(people, SampleOptions(size=64), length=12, seed=1)
    for index in range(12):
        points = samples[index]["driver_landmarks"]
        assert points[33, 0] < points[263, 0]


def test_coarse_l1_sees_a_shade_through_noise() -> None:
    wanted = torch.zeros(2, 3, 64, 64)
    noise = 0.5 * (1 - 2 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float())
    picture = wanted + noise
    picture[..., :32] += 0.1
    weight = torch.ones(2, 1, 64, 64)
    assert float(weighted_l1(picture, wanted, weight)) == pytest.approx(0.5)
    assert float(coarse_l1(picture, wanted, weight)) == pytest.approx(0.05)
    weight[..., :32] = 3.0
    assert float(coarse_l1(picture, wanted, weight)) == pytest.approx(0.075)


def test_the_taught_flow_finds_a_shift() -> None:
    texture = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)
    target = cv2.resize(texture, (96, 96), interpolation=cv2.INTER_CUBIC)
    driver = np.roll(target, 6, axis=1)  # seen 6 pixels to the left in the target
    flow, sure = teach_flow(driver, target, np.zeros((2, 24, 24), np.float32))
    middle = (slice(10, -10), slice(10, -10))
    assert flow[0][middle].mean() == pytest.approx(-6 / 48, abs=0.01)
    assert sure[0][middle].mean() > 0.5


def test_training_goes_on_after_a_stop_as_if_nothing_had_been(data: Path, tmp_path: Path) -> None:
    def trainer(out: Path, phases: list[Phase]) -> Trainer:
        return Trainer(replace(TINY, phases=phases), data, out, cache=tmp_path, device="cpu")

    whole = trainer(tmp_path / "whole", TINY.phases)
    whole.run()
    stopped = trainer(tmp_path / "stopped", TINY.phases)
    for batch in stopped._batches(TINY.phases[0], 0, 0):
        stopped._train_step(TINY.phases[0], batch, stopped.step / TINY.phases[0].steps)
        stopped.step += 1
        if stopped.step == 2:
            break
    stopped.save()
    resumed = trainer(tmp_path / "stopped", TINY.phases)
    assert resumed.step == 2
    resumed.run()
    assert resumed.step == whole.step == 5
    for name, value in whole.average.state_dict().items():
        torch.testing.assert_close(resumed.average.state_dict()[name], value)


def test_every_process_takes_its_own_share_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Processes("cpu")
    assert list(alone.share(4, 12, 2)) == list(range(4, 12))
    shares = []
    for alone.count, alone.rank in ((2, 0), (2, 1)):
        shares.append(list(alone.share(4, 12, 2)))
    assert shares == [[4, 5, 8, 9], [6, 7, 10, 11]]


def test_two_processes_train_one_network(data: Path, tmp_path: Path) -> None:
    # what `accelerate launch` runs where there are several GPUs; on processors it would want MPI
    launch = "torch.distributed.run --standalone --nproc_per_node 2"
    script = Path(__file__).with_name("two_processes.py")
    done = subprocess.run(
        [sys.executable, "-m", *launch.split(), str(script), str(data), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=script.parents[3],
        env=os.environ | {"PYTHONPATH": str(script.parents[3]), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "trained in 2 processes"
    log = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log == [1, 2]  # of one process, once


@pytest.mark.parametrize(
    ("text", "match"), [("phases: []\nsped: 3", "sped"), ("phases: [{steps: 1, sise: 3}]", "sise")]
)
def test_a_wrong_key_is_named(text: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=match):
        TrainingConfig.load(path)


def test_the_shipped_configuration_is_read() -> None:
    root = Path(__file__).resolve().parents[3]
    config = TrainingConfig.load(root / "models" / "training" / "configs" / "lite.yaml")
    assert sum(phase.steps for phase in config.phases) > 1000
