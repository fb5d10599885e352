"""The centre's command line: run, check, keys, certificate, refold, backup, restore."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from sqlalchemy import Connection

from central.access import AUTHORITY_FILE
from central.app import serve
from central.authority import utc_now, write_pair
from central.backup import BackupError, back_up, restore
from central.keys import KeyFileError, create_keys, load_keys
from central.logs import configure_logs
from central.reconcile import fold, forget
from central.settings import Loaded, load_settings
from central.store import open_store
from config.loader import SettingsError


def main() -> int:
    """Run the command that the arguments name and return its exit status."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.command(arguments))
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
    except (KeyFileError, BackupError) as error:
        print(error, file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="central", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, command, words in (
        ("run", _run, "run the centre; one JSON line on stdout says where it listens"),
        ("check", _check, "report every mistake in the settings"),
        (
            "refold",
            _refold,
            "fold the raw ledger afresh, with today's policy; the centre must not be running",
        ),
    ):
        sub = commands.add_parser(name, help=words)
        sub.add_argument("settings", type=Path)
        sub.set_defaults(command=command)
    for name, backing, words in (
        ("backup", _backup, "copy the store to a file (%%u: the weekday); the centre may be running"),
        ("restore", _restore, "put a backup in the store's place; the centre must not be running"),
    ):
        sub = commands.add_parser(name, help=words)
        sub.add_argument("settings", type=Path)
        sub.add_argument("backup", type=Path)
        sub.set_defaults(command=backing)
    keys = commands.add_parser("keys", help="make the key files that are missing and print the public keys")
    keys.add_argument("folder", type=Path)
    keys.add_argument("--demo", action="store_true", help="make demo keys, which prove nothing")
    keys.set_defaults(command=_keys)
    certificate = commands.add_parser(
        "certificate", help="make a key and a certificate: for a server, or for a client of the brokers"
    )
    certificate.add_argument("folder", type=Path, help="the folder with the centre's keys")
    certificate.add_argument(
        "names", nargs="+", help="the server's names and addresses, or what the access rules call the client"
    )
    certificate.add_argument("--client", action="store_true", help="for a client")
    certificate.add_argument(
        "--out", type=Path, required=True, help="where to: OUT.crt, OUT.key, and authority.crt beside them"
    )
    certificate.set_defaults(command=_certificate)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    configure_logs()
    asyncio.run(serve(load_settings(arguments.settings), _print_ready))
    return 0


def _print_ready(host: str, port: int) -> None:
    print(json.dumps({"ready": True, "host": host, "port": port}), flush=True)


def _check(arguments: argparse.Namespace) -> int:
    load_settings(arguments.settings)
    print(f"{arguments.settings}: no mistakes")
    return 0


def _keys(arguments: argparse.Namespace) -> int:
    print(json.dumps(create_keys(arguments.folder, demo=arguments.demo).public_texts()))
    return 0


def _certificate(arguments: argparse.Namespace) -> int:
    authority, names = load_keys(arguments.folder).authority, arguments.names
    if arguments.client and len(names) > 1:
        print("a client has one name", file=sys.stderr)
        return 2
    made = (
        authority.for_client(names[0], utc_now())
        if arguments.client
        else authority.for_server(names, utc_now())
    )
    certificate, key = write_pair(*made, arguments.out)
    trusted = arguments.out.with_name(AUTHORITY_FILE)
    trusted.write_text(authority.certificate_text(), "ascii")
    print(json.dumps({"certificate": str(certificate), "key": str(key), "authority": str(trusted)}))
    return 0


def _refold(arguments: argparse.Namespace) -> int:
    print(json.dumps({"folded": asyncio.run(_refold_store(load_settings(arguments.settings)))}))
    return 0


async def _refold_store(loaded: Loaded) -> int:
    """Forget and fold again in one transaction, so that nobody sees half of it."""

    def work(connection: Connection) -> int:
        forget(connection)
        folded = 0
        while rows := fold(connection, loaded.policy):
            folded += rows
        return folded

    store = open_store(loaded.store)
    try:
        return await store.run(work)
    finally:
        store.close()


def _backup(arguments: argparse.Namespace) -> int:
    backup = Path(utc_now().astimezone().strftime(str(arguments.backup)))
    back_up(load_settings(arguments.settings).store, backup)
    print(json.dumps({"backup": str(backup), "bytes": backup.stat().st_size}))
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    store = load_settings(arguments.settings).store
    kept = restore(store, arguments.backup, utc_now())
    print(json.dumps({"restored": str(store), "before": [str(path) for path in kept]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
