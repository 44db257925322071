"""`modelpad models ...`: what is in the store, and what to do with it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelpad.cli.main import DONE, FAILED, Parser, add_common_options, add_store_option
from modelpad.cli.settings import Settings
from modelpad.errors import StoreError, UsageError

if TYPE_CHECKING:
    from modelpad.store import LocalStore

EXAMPLE = """example:
  modelpad models
  modelpad models show digits@2
  modelpad models alias digits production 2
  modelpad models rollback digits
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.set_defaults(action=list_models)
    add_store_option(parser)
    add_common_options(parser)
    actions = parser.add_subparsers(metavar="ACTION", parser_class=Parser)

    def add(name: str, action: Any, words: str, *arguments: tuple[str, str]) -> Any:
        command = actions.add_parser(name, help=words, description=words[0].upper() + words[1:])
        command.epilog = " ".join(
            ["example: modelpad models", name, *(example for _, example in arguments)]
        )
        for argument, _ in arguments:
            command.add_argument(argument, metavar=argument.upper())
        # The same options after the action: SUPPRESS leaves what came before it alone.
        command.add_argument("--store", metavar="DIR", default=argparse.SUPPRESS)
        command.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS)
        command.set_defaults(action=action)
        return command

    add("list", list_models, "list models, versions and aliases")
    add("show", show_model, "show one model's card", ("model", "digits@2"))
    add(
        "alias",
        set_alias,
        "let an alias mean a version",
        ("name", "digits"),
        ("alias", "production"),
        ("version", "2"),
    )
    add(
        "promote",
        promote,
        "let a version be what the name means, for all requests",
        ("name", "digits"),
        ("version", "2"),
    )
    share = add("traffic", share_traffic, "share requests among versions", ("name", "digits"))
    share.epilog += " 1=90 2=10"
    share.add_argument(
        "shares",
        metavar="VERSION=PERCENT",
        nargs="*",
        help="1=90 2=10; none: all to what NAME means",
    )
    add(
        "shadow",
        set_shadow,
        "let a version get a copy of each request; 0: none",
        ("name", "digits"),
        ("version", "2"),
    )
    add("rollback", roll_back, "go back to the version before", ("name", "digits"))
    add("verify", verify, "check every file's checksum")
    add("push", push, "copy a bundle's folder into the store", ("folder", "./digits"))
    add("pull", pull, "copy a version out", ("model", "digits@2"), ("folder", "./digits"))
    add("remove", remove, "remove one version", ("model", "digits@1"))


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    from modelpad.store import LocalStore

    code: int = args.action(LocalStore(Settings.from_environment(args).store), args)
    return code


def list_models(store: LocalStore, args: argparse.Namespace) -> int:
    """A line a version."""
    rows = list_versions(store)
    if args.json:
        print(json.dumps({"models": rows}))
        return DONE
    if not rows:
        print(f"The store {store.root} is empty.")
        print("Next: modelpad train digits, or modelpad serve for the digits that come with it.")
        return DONE
    table = [("MODEL", "VERSION", "TRAFFIC", "ALIASES", "CREATED", "METRICS")]
    table += [
        (
            str(row["name"]),
            str(row["version"]),
            _write_traffic(row),
            ", ".join(row["aliases"]),
            str(row["created"])[:16].replace("T", " "),
            _write_metrics(row["metrics"]),
        )
        for row in rows
    ]
    widths = [max(len(row[column]) for row in table) for column in range(6)]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
    return DONE


def list_versions(store: LocalStore) -> list[dict[str, Any]]:
    """Every version in the store with what is said of it, by name, as JSON shows it."""
    rows: list[dict[str, Any]] = []
    for name in sorted(store.names()):
        aliases, plan = store.aliases(name), store.desired_state(name)
        traffic = plan.traffic or {plan.default_version: 100}
        for version in store.versions(name):
            manifest = store.open(f"{name}@{version}", verify=False).manifest
            names = sorted(alias for alias, target in aliases.items() if target == version)
            rows.append(
                {
                    "name": name,
                    "version": version,
                    "traffic": traffic.get(version, 0),
                    "shadow": version == plan.shadow,
                    "aliases": names,
                    "task": manifest.task,
                    "created": manifest.created,
                    "metrics": manifest.metrics,
                }
            )
    return rows


def _write_traffic(row: Mapping[str, Any]) -> str:
    share = [f"{row['traffic']} %"] if row["traffic"] else []
    return ", ".join([*share, *(["shadow"] if row["shadow"] else [])])


def show_model(store: LocalStore, args: argparse.Namespace) -> int:
    """Its manifest, readable."""
    from modelpad.store import resolve_bundle

    found = resolve_bundle(args.model, store.root)
    manifest = found.bundle.manifest
    if args.json:
        print(json.dumps({"version": found.version} | manifest.to_dict()))
        return DONE
    print(f"{found.name} version {found.version}: {manifest.title}")
    rows = {
        "summary": manifest.summary,
        "task": manifest.task,
        "created": manifest.created,
        "licence": manifest.licence,
        "inputs": ", ".join(f"{f.name} ({f.kind})" for f in manifest.signature.inputs),
        "outputs": ", ".join(f"{f.name} ({f.kind})" for f in manifest.signature.outputs),
        "source": ", ".join(f"{key} {value}" for key, value in manifest.source.items()),
        "metrics": _write_metrics(manifest.metrics),
        "parity": ", ".join(f"{key} {value}" for key, value in (manifest.parity or {}).items()),
        "files": f"{len(manifest.files)}, {sum(f.bytes for f in manifest.files.values()):,} bytes",
        "folder": str(found.bundle.folder),
        "failed": store.read_failure(found.name, found.version) or "",
    }
    for name, value in rows.items():
        if value:
            print(f"  {name:<9}{value}")
    return DONE


def set_alias(store: LocalStore, args: argparse.Namespace) -> int:
    """`models alias digits production 2`."""
    version = store.resolve(f"{args.name}@{args.version}").version
    store.set_alias(args.name, args.alias, version)
    return _say(args, f"{args.name}@{args.alias} is version {version} now.", args.name, version)


def promote(store: LocalStore, args: argparse.Namespace) -> int:
    """All requests for the name go to that version."""
    version = store.resolve(f"{args.name}@{args.version}").version
    store.promote(args.name, version)
    return _say(args, f"{args.name} is version {version} now.", args.name, version)


def share_traffic(store: LocalStore, args: argparse.Namespace) -> int:
    """Shares of requests, in percent."""
    shares = {}
    for word in args.shares:
        version, equals, percent = word.partition("=")
        if not (equals and version.isdecimal() and percent.isdecimal()):
            raise UsageError(f"{word!r} is not VERSION=PERCENT.", hint="For example: 1=90 2=10")
        shares[int(version)] = int(percent)
    store.set_traffic(args.name, shares)
    live = store.resolve(args.name).version
    told = ", ".join(f"{share} % to version {version}" for version, share in shares.items())
    return _say(args, f"{args.name}: {told or f'all to version {live}'}.", args.name, live)


def set_shadow(store: LocalStore, args: argparse.Namespace) -> int:
    """A version that is asked everything and never heard."""
    version = None if args.version == "0" else store.resolve(f"{args.name}@{args.version}").version
    store.set_shadow(args.name, version)
    words = f"version {version} gets a copy of each request" if version else "no shadow"
    return _say(args, f"{args.name}: {words}.", args.name, version or 0)


def roll_back(store: LocalStore, args: argparse.Namespace) -> int:
    """`models rollback digits`."""
    entry = store.rollback(args.name)
    words = f"{args.name} is back on version {entry.version}."
    return _say(args, words, args.name, entry.version)


def verify(store: LocalStore, args: argparse.Namespace) -> int:
    """Every version's checksums; 1 when one is damaged."""
    findings = store.verify()
    if args.json:
        print(json.dumps({"findings": [str(finding) for finding in findings]}))
    else:
        for finding in findings:
            print(finding)
        print("Damaged: remove it, then train or push it again." if findings else "All is well.")
    return FAILED if findings else DONE


def push(store: LocalStore, args: argparse.Namespace) -> int:
    """`models push ./digits`."""
    from pathlib import Path

    from modelpad.bundle import open_bundle

    entry = store.push(open_bundle(Path(args.folder)))
    words = f"Pushed {entry.name} as version {entry.version}. Next: modelpad serve {entry.name}"
    return _say(args, words, entry.name, entry.version)


def pull(store: LocalStore, args: argparse.Namespace) -> int:
    """`models pull digits@2 ./digits`."""
    from pathlib import Path

    from modelpad.bundle import write_bundle
    from modelpad.store import resolve_bundle

    found = resolve_bundle(args.model, store.root)
    target = Path(args.folder)
    if target.exists():
        raise StoreError(f"{target} exists already.", hint="Give a folder that does not exist yet.")
    files = {name: found.bundle.path(name) for name in found.bundle.manifest.files}
    write_bundle(target, found.bundle.manifest, files)
    return _say(args, f"Copied to {target}.", found.name, found.version)


def remove(store: LocalStore, args: argparse.Namespace) -> int:
    """`models remove digits@1`."""
    entry = store.resolve(args.model)
    store.remove(f"{entry.name}@{entry.version}")
    return _say(args, f"Removed {entry.name}@{entry.version}.", entry.name, entry.version)


def _say(args: argparse.Namespace, words: str, name: str, version: int) -> int:
    print(json.dumps({"name": name, "version": version}) if args.json else words)
    return DONE


def _write_metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {100 * value:.2f} %"
        if name.endswith("accuracy")
        else f"{name.replace('_', ' ')} {value:g}"
        for name, value in metrics.items()
    )
