"""Settings: precedence, errors that name key and origin, and the sample file."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from server.settings import Settings, variable_of
from server.settings_sources import SettingsError, load_settings, sample_file, shown

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file in the working directory, nothing in the environment."""
    monkeypatch.chdir(tmp_path)
    for key in [key for key in os.environ if key.startswith("UNDERSTUDY_")]:
        monkeypatch.delenv(key)


def problems(**sources: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(**{"environ": {}, **sources})  # type: ignore[arg-type]
    return caught.value.problems


def test_command_line_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text("port = 1\nsize = 512\nfps = 10\n")
    loaded = load_settings(file, {"port": "3"}, {"UNDERSTUDY_PORT": "2", "UNDERSTUDY_SIZE": "256"})
    assert (loaded.settings.port, loaded.settings.size, loaded.settings.fps) == (3, 256, 10)
    assert loaded.settings.room_capacity == Settings().room_capacity
    assert loaded.origins == {
        "port": "the command line",
        "size": "environment UNDERSTUDY_SIZE",
        "fps": f"file {file}",
    }


def test_file_of_the_working_directory_is_read_and_can_be_switched_off(tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_text("port = 81\n")
    assert load_settings(environ={}).settings.port == 81
    assert load_settings(environ={"UNDERSTUDY_CONFIG": ""}).settings.port == 8080
    (tmp_path / "other.toml").write_text("port = 82\n")
    assert load_settings(environ={"UNDERSTUDY_CONFIG": "other.toml"}).settings.port == 82


def test_unknown_keys_name_their_origin_and_the_nearest_setting(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("prot = 1\n")
    found = problems(config=file, environ={"UNDERSTUDY_SIZ": "256"}, overrides={"hots": "x"})
    assert sorted(found) == [
        "environment: there is no setting UNDERSTUDY_SIZ (did you mean UNDERSTUDY_SIZE?).",
        f"file {file}: there is no setting 'prot' (did you mean port?).",
        "the command line: there is no setting 'hots' (did you mean host?).",
    ]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("port", "70000", "less than or equal to 65535"),
        ("port", "eight", "valid integer"),
        ("size", "300", "256 or 512"),
        ("mark_enabled", "perhaps", "valid boolean"),
        ("mark_place", "middle", "'top-left'"),
        ("log_level", "loud", "'debug'"),
        ("ice_servers", "http://example.org", "no STUN or TURN URL"),
        ("ice_servers", "[{]", "line 1"),
        ("allowed_origins", "example.org", "no origin"),
        ("signaling_url", "http://example.org", "pattern"),
        ("resume_s", "nan", "less than or equal"),
        ("worker_secret", "w" * 15, "at least 16 characters"),
    ],
)
def test_bad_values_name_key_origin_and_reason(name: str, value: str, says: str) -> None:
    (problem,) = problems(environ={variable_of(name): value})
    assert problem.startswith(f"environment {variable_of(name)}: {name}")
    assert says in problem


def test_secrets_are_never_repeated() -> None:
    found = problems(environ={"UNDERSTUDY_ICE_SERVERS": '[{"urls": 3, "credential": "hush"}]'})
    assert "hush" not in "".join(found)
    settings = load_settings(environ={"UNDERSTUDY_WORKER_SECRET": "hush" * 4}).settings
    assert "hush" not in repr(settings)
    assert shown("worker_secret", settings.worker_secret) == "(hidden)"


def test_broken_and_missing_files_are_told(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("port = \n")
    assert problems(config=file)[0].startswith(f"file {file}: not TOML")
    assert problems(config=tmp_path / "none.toml") == [
        f"file {tmp_path / 'none.toml'}: cannot be read: No such file or directory."
    ]


def test_ice_servers_may_be_urls_or_tables() -> None:
    url = load_settings(environ={"UNDERSTUDY_ICE_SERVERS": "stun:a.example:1, stun:b.example:2"}).settings
    assert [server.urls for server in url.ice_servers] == [["stun:a.example:1"], ["stun:b.example:2"]]
    table = '{"urls": "turn:a.example:1", "username": "u", "credential": "c"}'
    (server,) = load_settings(environ={"UNDERSTUDY_ICE_SERVERS": table}).settings.ice_servers
    assert (server.urls, server.username) == (["turn:a.example:1"], "u")


def test_a_child_process_gets_the_same_settings() -> None:
    given = {
        "UNDERSTUDY_ICE_SERVERS": '["stun:a.example:1"]',
        "UNDERSTUDY_WORKER_SECRET": "hush" * 4,
        "UNDERSTUDY_CAPACITY": "7",
        "UNDERSTUDY_MARK_ENABLED": "no",
        "UNDERSTUDY_ALLOWED_ORIGINS": "https://a.example,https://b.example:8443",
    }
    settings = load_settings(environ=given).settings
    assert load_settings(environ=settings.environment()).settings == settings
    assert settings.worker_capacity == 7


def test_sample_file_is_current_and_every_line_of_it_is_valid(tmp_path: Path) -> None:
    text = sample_file()
    assert (ROOT / "understudy.example.toml").read_text() == text, (
        "write it anew: understudy settings --sample > understudy.example.toml"
    )
    lines = [line.removeprefix("# ") for line in text.splitlines() if " = " in line]
    (tmp_path / "all.toml").write_text("\n".join(lines))
    assert set(tomllib.loads("\n".join(lines))) == set(Settings.model_fields)
    assert load_settings(tmp_path / "all.toml", environ={}).settings.port == 8080


def test_every_setting_says_what_it_means() -> None:
    assert all(field.description for field in Settings.model_fields.values())
