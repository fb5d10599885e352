"""The files with secrets that the settings name: the site's hash key, tokens, a password. No error quotes them."""

from __future__ import annotations

from pathlib import Path

from config.settings import Settings

HASH_KEY_BYTES = 32


def read_hash_key(path: Path) -> bytes:
    """Return the site's hash key; ValueError when the file holds something else, OSError when it cannot be read."""
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != HASH_KEY_BYTES:
        raise ValueError(f"{path}: expected {HASH_KEY_BYTES} bytes in hex")
    return key


def read_secret(folder: Path, name: str) -> str:
    """Return the one line of text in a file; empty when none is named, ValueError when the file holds none."""
    if not name:
        return ""
    try:
        text = (folder / name).read_text("utf-8").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable():
        raise ValueError(f"{folder / name}: expected one line of text")
    return text


def secret_problems(settings: Settings, folder: Path) -> list[str]:
    """Return what is wrong with the files, each with the setting that names it."""
    problems = []
    try:
        read_hash_key(folder / settings.hash_key_file)
    except (OSError, ValueError) as error:
        problems.append(f"hash_key_file: {error}")
    for setting, name in (
        ("centre.password_file", settings.centre.password_file),
        ("centre.list_token_file", settings.centre.list_token_file),
        ("site_broker.password_file", settings.site_broker.password_file if settings.site_broker else ""),
        ("web.token_file", settings.web.token_file),
        *((f"staff[{n}].token_file", table.token_file) for n, table in enumerate(settings.staff)),
    ):
        try:
            read_secret(folder, name)
        except (OSError, ValueError) as error:
            problems.append(f"{setting}: {error}")
    return problems or _shared_tokens(settings, folder)


def _shared_tokens(settings: Settings, folder: Path) -> list[str]:
    """Return who has somebody else's token: whose word it is must be told by it."""
    tokens = [read_secret(folder, table.token_file) for table in settings.staff]
    tokens.append(read_secret(folder, settings.web.token_file))
    return [
        f"staff[{number}].token_file: {table.id} has the token of somebody else"
        for number, table in enumerate(settings.staff)
        if tokens.count(tokens[number]) > 1
    ]
