"""Where templates are found: the built-in ones, one's own in a folder, and files."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Final

from models.templates.errors import TemplateError
from models.templates.template import NAME_PATTERN, SUFFIX, Template, load_template

__all__ = ["BUILTIN_FOLDER", "Library", "builtin_templates"]

BUILTIN_FOLDER: Final = Path(__file__).parent / "builtin"
#: In the order of [0237].
_ORDER: Final = (
    "happy", "sad", "wink-left", "wink-right", "depressed", "blank", "surprised", "angry", "wink-smile",
)  # fmt: skip


@cache
def builtin_templates() -> tuple[Template, ...]:
    """The templates that are shipped."""
    return tuple(load_template(BUILTIN_FOLDER / f"{name}{SUFFIX}") for name in _ORDER)


class Library:
    """The built-in templates and those of a folder.

    Args:
        folder: of one's own templates; it need not exist.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._read: dict[Path, tuple[int, Template]] = {}  # with the time of the file's last change

    def own(self) -> list[Template]:
        """The folder's templates by name; files that are none are left out."""
        found = []
        for path in sorted(self.folder.glob(f"*{SUFFIX}")) if self.folder and self.folder.is_dir() else []:
            try:
                found.append(load_template(path))
            except TemplateError:
                continue
        return found

    def all(self) -> list[Template]:
        """Built-in templates first."""
        return [*builtin_templates(), *self.own()]

    def known(self, name: str) -> Template | None:
        """A template by its name, None if there is none; quick, since in a call frames wait for it.

        No folder is searched, and a file is read once for each time that it changes.

        Raises:
            TemplateError: its file cannot be used.
        """
        if not NAME_PATTERN.match(name):
            return None
        if built_in := next((template for template in builtin_templates() if template.name == name), None):
            return built_in
        if self.folder is None:
            return None
        path = self.folder / f"{name}{SUFFIX}"
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            self._read.pop(path, None)
            return None
        if path not in self._read or self._read[path][0] != changed:
            self._read[path] = changed, load_template(path)
        return self._read[path][1]

    def find(self, name: str, *, files: bool = False) -> Template:
        """A template by its name.

        Args:
            files: whether ``name`` may be a path as well; not for names that strangers give.

        Raises:
            TemplateError: there is none by that name, or its file cannot be used.
        """
        if files and (name.endswith(SUFFIX) or "/" in name):
            return load_template(Path(name))
        if (known := self.known(name)) is not None:
            return known
        names = [template.name for template in self.all()]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}."
        raise TemplateError("template_unknown", f"There is no template {name[:60]!r}: {hint}")
