"""MediaPipe's FaceMesh graph without the costly parts of its Python wrapper.

``FaceMesh.process`` makes a new named tuple class at every frame and parses 478 protocol buffer messages
one by one: a fifth of the whole search's time. The graph is run here with the same input and its result
is read from the serialised bytes, which lie in a fixed layout. MediaPipe is pinned to one version, whose
attributes these are.

The wrapper's graph also hands each frame from thread to thread, several times there and back, and waits
for a free core each time on a machine that is busy. Here all of it runs on the thread that asks.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.landmarks.topology import LANDMARK_COUNT

__all__ = ["FaceMeshGraph"]

_RESULT: Final = "multi_face_landmarks"
_FINDING: Final = (
    "facedetectionshortrangecpu__facedetectionshortrange__facedetection__TensorsToDetectionsCalculator"
    ".min_score_thresh"
)
_FOLLOWING: Final = "facelandmarkcpu__ThresholdingCalculator.threshold"
_FRAME_US: Final = 33_333
#: One landmark of a serialised NormalizedLandmarkList: its header, then a tag before each coordinate.
_LANDMARK: Final = np.dtype(
    [("header", "u1", 2), ("_x", "u1"), ("x", "<f4"), ("_y", "u1"), ("y", "<f4"), ("_z", "u1"), ("z", "<f4")]
)


class FaceMeshGraph:
    """FaceMesh with refined eyes, lips and irises.

    Args:
        still: each picture stands alone; otherwise faces are followed from one to the next.
        max_faces: the most faces found.
        min_confidence: of finding and of following a face.
    """

    def __init__(self, *, still: bool, max_faces: int, min_confidence: float) -> None:
        from mediapipe.python import packet_creator, packet_getter
        from mediapipe.python._framework_bindings import image_frame
        from mediapipe.python.solution_base import SolutionBase

        # What FaceMesh(static_image_mode=still, refine_landmarks=True, ...) would ask for.
        self._mesh: Any = SolutionBase(
            graph_config=_graph_on_one_thread(),
            side_inputs={"num_faces": max_faces, "with_attention": True, "use_prev_landmarks": not still},
            calculator_params={_FINDING: min_confidence, _FOLLOWING: min_confidence},
            outputs=[_RESULT],
        )
        self._srgb = image_frame.ImageFormat.SRGB
        self._packet = packet_creator.create_image_frame
        self._serialised = packet_getter._packet_getter._get_serialized_proto_list
        self._times = itertools.count(_FRAME_US, _FRAME_US)

    def find(self, image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """Landmarks of each face, ``[478, 3]`` in units of the picture's width, height and width.

        Args:
            image: RGB, uint8 [H, W, 3], contiguous.
        """
        graph, outputs = self._mesh._graph, self._mesh._graph_outputs
        outputs.clear()
        packet = self._packet(image, image_format=self._srgb).at(next(self._times))
        graph.add_packet_to_input_stream(stream="image", packet=packet)
        graph.wait_until_idle()
        result = outputs.get(_RESULT)
        if result is None or result.is_empty():
            return []
        return [_coordinates(message) for message in self._serialised(result)]

    def close(self) -> None:
        """Release the native graph."""
        self._mesh.close()


def _graph_on_one_thread() -> Any:
    """FaceMesh's own graph, run by whoever gives it a picture instead of by threads of its own."""
    import mediapipe
    from mediapipe.framework import calculator_pb2
    from mediapipe.python.solutions import face_mesh  # its imports register the graph's options

    graph = calculator_pb2.CalculatorGraphConfig()
    graph.ParseFromString(
        Path(mediapipe.__file__).parents[1].joinpath(face_mesh._BINARYPB_FILE_PATH).read_bytes()
    )
    graph.executor.add(type="ApplicationThreadExecutor")
    return graph


def _coordinates(message: bytes) -> npt.NDArray[np.float32]:
    """``[478, 3]`` out of a serialised NormalizedLandmarkList."""
    landmarks = np.frombuffer(message, _LANDMARK)
    if len(landmarks) != LANDMARK_COUNT:
        raise ValueError(f"{len(landmarks)} landmarks were found, not {LANDMARK_COUNT}")
    return np.stack([landmarks[axis] for axis in "xyz"], axis=1)
