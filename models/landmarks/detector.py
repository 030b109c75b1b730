"""Finds faces and their 478 three-dimensional landmarks in a picture (MediaPipe FaceMesh)."""

from __future__ import annotations

import faulthandler
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Self

import cv2
import numpy as np

from models.landmarks.crop import warp_to_square
from models.landmarks.face_mesh import FaceMeshGraph
from models.landmarks.topology import LANDMARK_COUNT

__all__ = ["LANDMARK_COUNT", "FaceDetector"]

#: The search sees at most this many pixels a side (its networks' input is 192x192; more only costs time);
#: larger pictures are searched in parts as well.
_SEARCH_SIDE: Final = 960
#: Side of the region FaceMesh is run on around each face found in a still, in face sizes and pixels.
_REGION_FACES: Final = 2.0
_REGION_SIDE: Final = 512
#: Two detections whose boxes overlap by this much (intersection over union) are one face.
_SAME_FACE_OVERLAP: Final = 0.3

# MediaPipe's native code logs these to standard error at every start and offers no switch for them.
_NOISE: Final = re.compile(
    rb"^(INFO: Created TensorFlow Lite|WARNING: All log messages before absl|"
    rb"[IW]\d{4} .*(inference_feedback_manager|landmark_projection_calculator|gl_context|face_landmarker))"
)
_noise_lock = threading.Lock()


class FaceDetector:
    """FaceMesh with refined eyes, lips and irises, for calls (tracking) and for stills.

    In tracking mode a face found once is followed from frame to frame, which is faster (2 ms) and
    steadier; the search runs again only when it is lost. In static mode each picture stands alone and
    faces are first searched over the whole picture by a full-range detector, then FaceMesh runs on an
    enlarged region around each one, so that small faces in large photos are found, and several of them.

    Args:
        static: True for photos, False for the frames of one driver's camera. A tracking detector
            belongs to one driver: its state is the last frame's face.
        max_faces: the most faces returned.
        min_confidence: detections scored below this are dropped.

    Not safe to call from several threads at once. Close it, or use it as a context manager.
    """

    def __init__(self, *, static: bool, max_faces: int = 1, min_confidence: float = 0.5) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("GLOG_minloglevel", "2")
        if max_faces < 1:
            raise ValueError("max_faces must be at least 1")
        self._static = static
        self._max_faces = max_faces
        self._quiet = False  # True once every native stage has run, and logged, at least once
        with _native_noise_filtered():
            from mediapipe.python.solutions.face_detection import FaceDetection

            self._mesh: FaceMeshGraph | None = FaceMeshGraph(
                still=static, max_faces=1 if static else max_faces, min_confidence=min_confidence
            )
            # model_selection: 1 is the full-range model (up to 5 m), 0 the short-range one (selfies).
            self._search: list[Any] = (
                [FaceDetection(model_selection=m, min_detection_confidence=min_confidence) for m in (1, 0)]
                if static
                else []
            )
            # The graphs open, and log, in threads of their own: wait for that here, where it is held back.
            blank = np.zeros((64, 64, 3), np.uint8)
            self._mesh.find(blank)
            for search in self._search:
                search.process(blank)

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        """Find faces.

        Args:
            image: RGB, uint8 [H, W, 3].

        Returns:
            One float32 [478, 3] a face, largest face first in static mode: x (right) and y (down) in
            pixels of ``image``, z in the same unit, growing away from the camera. Points may lie outside
            the picture. An empty list when no face is found.

        Raises:
            ValueError: the picture is not uint8 [H, W, 3] or is empty.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"expected a uint8 [H, W, 3] picture, got {image.dtype} {image.shape}")
        if self._quiet:
            return self._detect(image)
        with _native_noise_filtered():
            faces = self._detect(image)
        self._quiet = bool(faces)
        return faces

    def close(self) -> None:
        """Release the native graphs. Calling it again does nothing."""
        for graph in (self._mesh, *self._search):
            if graph is not None:
                graph.close()
        self._mesh, self._search = None, []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _detect(self, image: np.ndarray) -> list[np.ndarray]:
        return self._detect_still(image) if self._static else self._run_mesh(image)

    def _run_mesh(self, image: np.ndarray) -> list[np.ndarray]:
        height, width = image.shape[:2]
        if self._mesh is None:
            raise ValueError("this detector is closed")
        scale = np.array([width, height, width], np.float32)
        return [face * scale for face in self._mesh.find(np.ascontiguousarray(image))]

    def _detect_still(self, image: np.ndarray) -> list[np.ndarray]:
        faces: list[np.ndarray] = []
        for box in self._search_boxes(image):
            landmarks = self._mesh_in_region(image, box)
            if landmarks is None or any(
                _overlap(_bounds(landmarks), _bounds(other)) > _SAME_FACE_OVERLAP for other in faces
            ):
                continue
            faces.append(landmarks)
        if not faces:  # faces that fill the picture escape the search but not FaceMesh's own
            faces = self._run_mesh(image)
        faces.sort(key=lambda f: -float(np.ptp(f[:, :2], axis=0).max()))
        return faces[: self._max_faces]

    def _search_boxes(self, image: np.ndarray) -> list[np.ndarray]:
        """Boxes (x0, y0, x1, y1) in pixels of ``image``, best first, each face once."""
        scored: list[tuple[float, np.ndarray]] = []
        for x0, y0, x1, y1 in _search_windows(*image.shape[:2]):
            window = image[y0:y1, x0:x1]
            height, width = window.shape[:2]
            shrink = min(1.0, _SEARCH_SIDE / max(height, width))
            if shrink < 1.0:
                window = cv2.resize(window, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            window = np.ascontiguousarray(window)
            for search in self._search:
                for found in search.process(window).detections or ():
                    box = found.location_data.relative_bounding_box
                    corners = np.array([box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height])
                    scored.append(
                        (found.score[0], corners * [width, height, width, height] + [x0, y0, x0, y0])
                    )
        boxes: list[np.ndarray] = []
        for _, candidate in sorted(scored, key=lambda s: -s[0]):
            if all(_overlap(candidate, other) <= _SAME_FACE_OVERLAP for other in boxes):
                boxes.append(candidate)
        return boxes

    def _mesh_in_region(self, image: np.ndarray, box: np.ndarray) -> np.ndarray | None:
        """FaceMesh on a square region around ``box``, in pixels of ``image``; None when it sees no face."""
        side = max(float(np.max(box[2:] - box[:2])) * _REGION_FACES, 1.0)
        scale = _REGION_SIDE / side
        if scale > 4.0:  # a face of a few dozen pixels: enlarging it further only invents detail
            scale = 4.0
        centre = (box[:2] + box[2:]) / 2
        out = round(side * scale)
        transform = np.array(
            [[scale, 0, out / 2 - scale * centre[0]], [0, scale, out / 2 - scale * centre[1]]], np.float64
        )
        region = warp_to_square(image, transform, out)
        faces = self._run_mesh(region)
        if not faces:
            return None
        landmarks = max(faces, key=lambda f: float(np.ptp(f[:, 0])))
        landmarks[:, :2] -= transform[:, 2].astype(np.float32)
        return np.asarray(landmarks / np.float32(scale), np.float32)


def _search_windows(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Windows (x0, y0, x1, y1) to search: the whole picture, and in large ones nine overlapping quarters."""
    windows = [(0, 0, width, height)]
    if max(height, width) > _SEARCH_SIDE:
        half_w, half_h = (width + 1) // 2, (height + 1) // 2
        lefts, tops = (0, (width - half_w) // 2, width - half_w), (0, (height - half_h) // 2, height - half_h)
        windows += [(x, y, x + half_w, y + half_h) for y in tops for x in lefts]
    return windows


def _bounds(landmarks: np.ndarray) -> np.ndarray:
    return np.concatenate([landmarks[:, :2].min(0), landmarks[:, :2].max(0)])


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner
    return float(inner / union) if union > 0 else 0.0


@contextmanager
def _native_noise_filtered() -> Iterator[None]:
    """Hold standard error back at the file descriptor, then pass on all of it that is not known noise."""
    with _noise_lock, ExitStack() as opened:
        try:
            sys.stderr.flush()
            saved = os.dup(2)
            opened.callback(os.close, saved)
            held = opened.enter_context(tempfile.TemporaryFile())
            os.dup2(held.fileno(), 2)
        except (OSError, ValueError, AttributeError):  # no standard error, or nowhere to hold it: noise, then
            yield
            return
        stacks = _stacks_go_to_standard_error()
        try:
            if stacks:  # a native crash ends the process, and what is held with it
                faulthandler.enable(saved)
            yield
        finally:
            os.dup2(saved, 2)
            if stacks:
                faulthandler.enable(2)
            held.seek(0)
            kept = [line for line in held.readlines() if not _NOISE.match(line)]
            if kept:
                os.write(2, b"".join(kept))


def _stacks_go_to_standard_error() -> bool:
    """Whether Python was started with its fault handler; one enabled later may write anywhere."""
    wanted = os.environ.get("PYTHONFAULTHANDLER") or "faulthandler" in sys._xoptions or sys.flags.dev_mode
    return bool(wanted) and faulthandler.is_enabled()
