"""Training of the landmark transformer: learns on made-up people, and goes on exactly where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.landmarks.separation import ArrayTrack, separate_streaming
from models.landmarks.store import Source, write_store
from models.landmarks.topology import MIRROR, canonical_face
from models.landmarks.transformer import load_transformer
from models.training.landmark_data import Person, load_people_of, mirrored
from models.training.landmark_samples import Samples, TransformerTraining
from models.training.transformer import held_out_ratio, initial_transformers, train_transformer

TINY = TransformerTraining(
    hidden=16, image_features=8, channels=(4, 4, 4, 4), image_steps=12, landmark_steps=8, batch=8,
    log_steps=2, evaluate_steps=4, checkpoint_steps=5, frames_per_person=20, full_weight_frames=5,
)  # fmt: skip


def smooth(random: np.random.Generator, count: int) -> np.ndarray:
    """Smooth fields on the face, ``[count, 478, 3]``: what a face can be and do in this test."""
    points = canonical_face()
    waves = np.cos(points @ random.normal(0, 2.0, (count, 3, 1)) + random.uniform(0, 6, (count, 1, 1)))
    return waves * random.normal(0, 1, (count, 1, 3)) / 20


@pytest.fixture(scope="module")
def people() -> list[Person]:
    random = np.random.default_rng(5)
    ways_to_be, ways_to_move = smooth(random, 6), smooth(random, 4)
    made = []
    for number in range(10):
        own = canonical_face() + np.einsum("k,knc->nc", random.normal(0, 1, 6), ways_to_be)
        motion = random.normal(0, 1, (24, 4))
        track = own + np.einsum("tk,knc->tnc", motion - motion.mean(0), ways_to_move)
        crops = random.integers(0, 255, (24, 72, 72, 3), np.uint8)
        split = "dev" if number >= 7 else "train"
        made.append(Person(f"p{number}", split, track.astype(np.float32), crops, 10.0, 1, False))
    return made


def test_mirrored_twice_is_the_same(people: list[Person]) -> None:
    track = people[0].landmarks
    np.testing.assert_array_equal(mirrored(mirrored(track)), track)
    np.testing.assert_array_equal(mirrored(track)[:, 33, 0], -track[:, MIRROR[33], 0])


def test_samples_are_sums_of_their_parts(people: list[Person]) -> None:
    samples = Samples.of(people, TINY)
    assert len(samples.identities) == 14  # seven people and their mirror images, nobody held out
    batch = samples.draw(replace(TINY, mix=0.0, batch=200), torch.Generator().manual_seed(0), faces=True)
    normalised, expression, faces = batch
    assert faces is not None
    assert faces.shape == (200, 64, 64, 3)
    identity = normalised.flatten(1).numpy() - samples.average.ravel() - expression.numpy()
    distance = np.abs(identity[:, None] - samples.identities.numpy()[None]).max(-1).min(1)
    assert distance.max() < 1e-5  # each is somebody's, or somebody's mirror image
    mixed, expression, _ = samples.draw(replace(TINY, mix=1.0), torch.Generator().manual_seed(0), faces=False)
    identity = mixed.flatten(1).numpy() - samples.average.ravel() - expression.numpy()
    assert np.abs(identity[:, None] - samples.identities.numpy()[None]).max(-1).min(1).min() > 1e-4


def test_linear_estimate_beats_the_naive_one_on_people_never_seen(people: list[Person]) -> None:
    samples = Samples.of(people, TINY)
    _, landmarks, basis = initial_transformers(samples, TINY)
    held_out = [person for person in people if person.split == "dev"]
    assert held_out_ratio(landmarks, held_out) < 0.7
    assert min(basis.explained.values()) >= TINY.variance
    # the closed form is the posterior mean of a Gaussian: no other linear map does better in training
    of_expression, of_identity = samples.covariances()
    best = landmarks.prior.numpy().astype(np.float64)
    total = of_expression + of_identity + TINY.ridge * np.eye(len(of_identity))
    np.testing.assert_allclose(best @ total, basis.vectors @ of_expression, atol=1e-5)


def test_training_lowers_the_loss_and_writes_everything(people: list[Person], tmp_path: Path) -> None:
    lines: list[str] = []
    weights = train_transformer(people, TINY, tmp_path, report=lines.append)
    assert weights is not None
    load_transformer(weights)
    assert (tmp_path / "curve.png").stat().st_size > 1000
    assert list((tmp_path / "tensorboard").iterdir())
    assert any(line.startswith("landmarks 8/8") for line in lines)


def test_resumed_training_is_the_same_to_the_bit(people: list[Person], tmp_path: Path) -> None:
    whole = train_transformer(people, TINY, tmp_path / "whole")
    assert whole is not None
    parts = tmp_path / "parts"
    assert train_transformer(people, TINY, parts, stop_after=7) is None
    assert train_transformer(people, TINY, parts, stop_after=8) is None
    again = train_transformer(people, TINY, parts)
    assert again is not None
    assert again.read_bytes() == whole.read_bytes()
    with pytest.raises(ValueError, match="another configuration"):
        train_transformer(people, replace(TINY, hidden=8), parts)


def test_another_seed_is_another_run(people: list[Person], tmp_path: Path) -> None:
    short = replace(TINY, image_steps=2, landmark_steps=2)
    first = train_transformer(people, short, tmp_path / "a")
    second = train_transformer(people, replace(short, seed=2), tmp_path / "b")
    assert first is not None
    assert second is not None
    assert first.read_bytes() != second.read_bytes()


def test_config_names_what_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("hidden: 32\nchannels: [4, 8]\n")
    assert TransformerTraining.load(path) == TransformerTraining(hidden=32, channels=(4, 8))
    path.write_text("hiden: 32\n")
    with pytest.raises(ValueError, match="hiden"):
        TransformerTraining.load(path)
    path.write_text("- 1\n")
    with pytest.raises(ValueError, match="mapping"):
        TransformerTraining.load(path)


def test_people_come_from_stores_and_listings(tmp_path: Path) -> None:
    tracks = [np.full((n, 478, 3), n, np.float32) + canonical_face().astype(np.float32) for n in (4, 6, 2, 1)]
    sources = [ArrayTrack(track) for track in tracks]
    names = ["a.mp4", "b.mp4", "c.mp4", "photo.jpg"]
    write_store(
        tmp_path / "store.safetensors",
        separate_streaming(sources),
        [source.chunks() for source in sources],
        [np.arange(len(track)) * 3 for track in tracks],
        [Source(name, len(track), 12.0) for name, track in zip(names, tracks, strict=True)],
    )
    listing = tmp_path / "clips.csv"
    listing.write_text("clip,person,split\nx/a.mp4,ann,train\nx/b.mp4,ann,train\nphoto.jpg,bea,dev\n")
    ann, bea = load_people_of([tmp_path / "store.safetensors"], [listing])
    assert (ann.name, ann.split, len(ann.landmarks), ann.videos, ann.still) == ("ann", "train", 10, 2, False)
    assert ann.seconds == pytest.approx(30 / 12)
    assert ann.crops is None
    assert (bea.name, bea.still, bea.seconds) == ("bea", True, 0.0)
    np.testing.assert_allclose(ann.mean, canonical_face() + 5.2, atol=1e-5)
    listing.write_text("clip,person,split\na.mp4,ann,train\nb.mp4,ann,dev\n")
    with pytest.raises(ValueError, match="split"):
        load_people_of([tmp_path / "store.safetensors"], [listing])
    listing.write_text("clip,who\na.mp4,ann\n")
    with pytest.raises(ValueError, match="columns"):
        load_people_of([tmp_path / "store.safetensors"], [listing])
