"""Where settings come from: the file, the environment, the command line; and how they are shown.

The command line wins over the environment, the environment over the file, the file over the defaults.
Anything unknown or out of range is refused with a sentence that names the key and where it was given.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource

from server.settings import CONFIG_VARIABLE, ENV_PREFIX, Settings, variable_of

__all__ = ["LoadedSettings", "SettingsError", "load_settings", "sample_file", "shown"]

DEFAULT_CONFIG: Final = Path("understudy.toml")


class SettingsError(ValueError):
    """Settings that cannot be used.

    Attributes:
        problems: one sentence for each, naming the key and where it was given.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True)
class LoadedSettings:
    """Settings with the origin of each value that is not the default.

    Attributes:
        settings: the values.
        origins: setting name -> where its value was given, in words.
    """

    settings: Settings
    origins: Mapping[str, str]


def load_settings(
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> LoadedSettings:
    """Read file, environment and command line, in rising precedence.

    Args:
        config: the TOML file; by default ``$UNDERSTUDY_CONFIG``, else ``understudy.toml`` if there is one.
        overrides: values of the command line by setting name.
        environ: the environment; by default the process's.

    Raises:
        SettingsError: a key is unknown, a value does not fit, or the file cannot be read.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    problems: list[str] = []

    for origin, source in (
        *_file_source(config, environ, problems),
        *_environment_source(environ, problems),
        *(("the command line", {name: value}) for name, value in (overrides or {}).items()),
    ):
        for name, value in source.items():
            if name not in Settings.model_fields:
                problems.append(f"{origin}: there is no setting {name!r}{_nearest(name)}.")
                continue
            values[name] = value
            origins[name] = origin
    try:
        settings = Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        problems += [_sentence(details, origins) for details in error.errors(include_url=False)]
    if problems:
        raise SettingsError(problems)
    return LoadedSettings(settings, origins)


def _file_source(
    config: Path | None, environ: Mapping[str, str], problems: list[str]
) -> list[tuple[str, dict[str, object]]]:
    if config is None:
        named = environ.get(CONFIG_VARIABLE)
        if named == "" or (named is None and not DEFAULT_CONFIG.is_file()):
            return []
        config = Path(named) if named else DEFAULT_CONFIG
    try:
        return [(f"file {config}", tomllib.loads(config.read_text(encoding="utf-8")))]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"file {config}: not TOML: {error}.")
    except OSError as error:
        problems.append(f"file {config}: cannot be read: {error.strerror}.")
    return []


def _environment_source(
    environ: Mapping[str, str], problems: list[str]
) -> list[tuple[str, dict[str, object]]]:
    known = {variable_of(name) for name in Settings.model_fields} | {CONFIG_VARIABLE}
    ours = {key.upper(): key for key in environ if key.upper().startswith(ENV_PREFIX)}
    for upper, key in ours.items():
        if upper not in known:
            problems.append(f"environment: there is no setting {key}{_nearest(upper, sorted(known))}.")
    source = EnvSettingsSource(Settings)
    source.env_vars = {key.lower(): value for key, value in environ.items()}
    return [(f"environment {variable_of(name)}", {name: value}) for name, value in source().items()]


def _nearest(name: str, names: Sequence[str] | None = None) -> str:
    close = difflib.get_close_matches(name, names or list(Settings.model_fields), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def _sentence(details: Any, origins: Mapping[str, str]) -> str:
    """One validation error as a sentence: origin, key, what is wrong. A secret's value is never repeated."""
    name = str(details["loc"][0])
    place = ".".join(str(part) for part in details["loc"])
    what = str(details["msg"]).removeprefix("Value error, ")
    given = f", not {details['input']!r}"
    secret = name in Settings.model_fields and Settings.model_fields[name].annotation is SecretStr
    if secret or name == "ice_servers" or repr(details["input"]) in what:
        given = ""
    return f"{origins.get(name, 'default')}: {place}: {what[:1].lower()}{what[1:]}{given}."


def shown(name: str, value: object) -> str:
    """A setting's value as people read it; secrets are not shown."""
    if isinstance(value, SecretStr):
        return "(hidden)" if value.get_secret_value() else "(none)"
    if value is None:
        return "(none)"
    if isinstance(value, list):
        return ", ".join(v if isinstance(v, str) else " ".join(v.urls) for v in value) or "(none)"
    return str(value).lower() if isinstance(value, bool) else str(value)


def sample_file() -> str:
    """A settings file that names every setting with its meaning and default, each commented out."""
    lines = [
        "# Settings of Understudy. Copy to understudy.toml and take the # off what you change: what stands",
        "# behind it is the default, or an example where there is none.",
        "# Each is also an environment variable (port: UNDERSTUDY_PORT), which wins over this file.",
    ]
    for name, field in Settings.model_fields.items():
        value = field.examples[0] if field.examples else field.get_default(call_default_factory=True)
        lines += ["", f"# {field.description}", f"# {name} = {json.dumps(value)}"]
    return "\n".join(lines) + "\n"
