"""`modelpad models`: lists and manages the models in the store."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modelpad.cli.help_format import HelpFormatter
from modelpad.cli.listing import make_printable, print_table
from modelpad.cli.main import DONE, Parser, add_common_options, add_store_option
from modelpad.cli.settings import Settings
from modelpad.cli.signatures import add_sign_options, add_verify_options, sign, verify
from modelpad.errors import StoreError, UsageError

if TYPE_CHECKING:
    from modelpad.fields import Binding, Field
    from modelpad.store import Store

EXAMPLE = """example:
  modelpad models
  modelpad models show digits@2
  modelpad models alias digits production 2
  modelpad models rollback digits
"""
MODEL_HELP = "NAME, NAME@VERSION or NAME@ALIAS"
COMMON: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("--store", {"metavar": "DIR_OR_URL"}, "the model store (default: MODELPAD_STORE)"),
    ("--json", {"action": "store_true"}, "print JSON"),
    ("--debug", {"action": "store_true"}, "show the traceback when an error occurs"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.set_defaults(action=list_models)
    add_store_option(parser)
    add_common_options(parser)
    actions = parser.add_subparsers(metavar="ACTION", parser_class=Parser)

    def add(name: str, action: Any, words: str, *arguments: tuple[str, str, str]) -> Any:
        """An action with positional arguments, each with its help text and an example value."""
        command = actions.add_parser(
            name,
            help=words,
            description=f"{words[0].upper()}{words[1:]}.",
            formatter_class=HelpFormatter,
        )
        examples = (example for *_, example in arguments)
        command.epilog = "\n  ".join(["example:", " ".join(["modelpad models", name, *examples])])
        for argument, explanation, _ in arguments:
            command.add_argument(argument, metavar=argument.upper(), help=explanation)
        # The same options after the action: SUPPRESS keeps the value given before it.
        for option, settings, explanation in COMMON:
            command.add_argument(option, **settings, default=argparse.SUPPRESS, help=explanation)
        command.set_defaults(action=action)
        return command

    name = ("name", "the model's name", "digits")
    version = ("version", "a version number or an alias", "2")
    model = ("model", MODEL_HELP, "digits@2")
    add("list", list_models, "list models, versions and aliases")
    add("show", show_model, "show one version's details", model)
    alias = ("alias", "the alias, such as production or staging", "staging")
    add("alias", set_alias, "point an alias at a version", name, alias, version)
    add("promote", promote, "send all requests for a model to one version", name, version)
    split = add("traffic", split_traffic, "split requests among versions", name)
    split.epilog += " 1=90 2=10"
    split.add_argument(
        "shares",
        metavar="VERSION=PERCENT",
        nargs="*",
        help="percentage of requests for a version; omit all to end the split",
    )
    target = ("version", "a version number or an alias; 0 turns shadowing off", "2")
    add("shadow", set_shadow, "send a version a copy of each request", name, target)
    add("rollback", roll_back, "return to the previous version", name)
    words = "sign a version, so that a server can tell who made it"
    signing = add("sign", sign, words, ("model", f"{MODEL_HELP}, or a bundle's folder", "digits@2"))
    add_sign_options(signing)
    verifying = add("verify", verify, "verify the checksum of every file, and signatures")
    add_verify_options(verifying)
    what = ("model", "a bundle's folder, or a model of the store given by --from", "./digits")
    pushing = add("push", push, "copy a bundle into the store", what)
    pushing.add_argument(
        "--from",
        dest="source",
        metavar="DIR_OR_URL",
        help="the store of the model (default: the folder in your home)",
    )
    folder = ("folder", "where to write it; must not exist yet", "./digits")
    add("pull", pull, "copy a version out of the store", model, folder)
    target = ("target", "the other store: a folder or a URL", "s3://bucket/models")
    add("sync", sync, "copy every version and alias that another store lacks into it", target)
    add("remove", remove, "remove one version", ("model", MODEL_HELP, "digits@1"))


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    from modelpad.store import open_store

    code: int = args.action(open_store(Settings.from_environment(args).store), args)
    return code


def list_models(store: Store, args: argparse.Namespace) -> int:
    """Prints one line per version."""
    rows = list_versions(store)
    if args.json:
        print(json.dumps({"models": rows}))
        return DONE
    if not rows:
        print(f"The store {store.location} is empty.")
        print("Next: modelpad train digits, or modelpad serve for the bundled digits.")
        return DONE
    table = [("MODEL", "VERSION", "TRAFFIC", "ALIASES", "CREATED", "RUNS IN", "METRICS")]
    table += [
        (
            str(row["name"]),
            str(row["version"]),
            _write_traffic(row),
            ", ".join(row["aliases"]),
            str(row["created"])[:16].replace("T", " "),
            str(row["framework"] or "ONNX Runtime"),
            _write_metrics(row["metrics"]),
        )
        for row in rows
    ]
    print_table(table)
    return DONE


def list_versions(store: Store) -> list[dict[str, Any]]:
    """Every version in the store, sorted by name, as shown with `--json`."""
    rows: list[dict[str, Any]] = []
    listing = store.listing()
    for name in listing.names():
        model = listing.read(name)
        aliases, plan = model.aliases, model.plan()
        traffic = plan.traffic or {plan.default_version: 100}
        for version in model.versions:
            manifest = store.manifest(f"{name}@{version}")
            names = sorted(alias for alias, target in aliases.items() if target == version)
            rows.append(
                {
                    "name": name,
                    "version": version,
                    "traffic": traffic.get(version, 0),
                    "shadow": version == plan.shadow,
                    "aliases": names,
                    "task": manifest.task,
                    "backend": manifest.backend,
                    "framework": manifest.native and manifest.native.framework,
                    "created": manifest.created,
                    "metrics": manifest.metrics,
                }
            )
    return rows


def _write_traffic(row: Mapping[str, Any]) -> str:
    share = [f"{row['traffic']} %"] if row["traffic"] else []
    shadow = ["shadow"] if row["shadow"] else []
    return ", ".join([*share, *shadow])


def show_model(store: Store, args: argparse.Namespace) -> int:
    """Prints one version's manifest."""
    from modelpad.store import resolve_bundle

    found = resolve_bundle(args.model, store.location)
    manifest = found.bundle.manifest
    if args.json:
        print(json.dumps({"version": found.version} | manifest.to_dict()))
        return DONE
    print(make_printable(f"{found.name} version {found.version}: {manifest.title}"))
    rows = {
        "summary": manifest.summary,
        "task": manifest.task,
        "created": manifest.created,
        "author": manifest.author,
        "licence": manifest.licence,
        "inputs": _list_fields(manifest.signature.inputs, manifest.signature.input_bindings),
        "outputs": _list_fields(manifest.signature.outputs, manifest.signature.output_bindings),
        "runs in": manifest.runs_in,
        "source": ", ".join(f"{key} {value}" for key, value in manifest.source.items()),
        "metrics": _write_metrics(manifest.metrics),
        "parity": ", ".join(f"{key} {value}" for key, value in (manifest.parity or {}).items()),
        "files": f"{len(manifest.files)}, {sum(f.bytes for f in manifest.files.values()):,} bytes",
        "folder": str(found.bundle.folder),
        "failed": store.read_failure(found.name, found.version) or "",
    }
    for name, value in rows.items():
        if value:
            print(f"  {name:<9}{make_printable(value)}")
    return DONE


def _list_fields(fields: Sequence[Field], bindings: Sequence[Binding]) -> str:
    """For example: `image (image, tensor keras_tensor), age (number)`."""
    pairs = zip(fields, bindings, strict=True)
    return ", ".join(
        f"{field.name} ({field.kind}"
        + ("" if field.name == binding.tensor else f", tensor {binding.tensor}")
        + ")"
        for field, binding in pairs
    )


def set_alias(store: Store, args: argparse.Namespace) -> int:
    """Points an alias at a version."""
    version = store.resolve(f"{args.name}@{args.version}").version
    store.set_alias(args.name, args.alias, version)
    return _report(args, f"{args.name}@{args.alias} is now version {version}.", args.name, version)


def promote(store: Store, args: argparse.Namespace) -> int:
    """Makes a version the current one, which the plain name refers to."""
    version = store.resolve(f"{args.name}@{args.version}").version
    store.promote(args.name, version)
    return _report(args, f"{args.name} is now version {version}.", args.name, version)


def split_traffic(store: Store, args: argparse.Namespace) -> int:
    """Splits requests among versions, in percent."""
    shares = {}
    for word in args.shares:
        version, equals, percent = word.partition("=")
        if not (equals and version.isdecimal() and percent.isdecimal()):
            raise UsageError(f"{word!r} is not VERSION=PERCENT.", hint="For example: 1=90 2=10")
        shares[int(version)] = int(percent)
    store.set_traffic(args.name, shares)
    live = store.resolve(args.name).version
    split = ", ".join(f"{share} % to version {version}" for version, share in shares.items())
    words = f"{args.name}: {split or f'all requests to version {live}'}."
    return _report(args, words, args.name, live)


def set_shadow(store: Store, args: argparse.Namespace) -> int:
    """Starts or stops sending a version a copy of each request."""
    version = None if args.version == "0" else store.resolve(f"{args.name}@{args.version}").version
    store.set_shadow(args.name, version)
    words = f"version {version} shadows all requests" if version else "shadowing is off"
    return _report(args, f"{args.name}: {words}.", args.name, version or 0)


def roll_back(store: Store, args: argparse.Namespace) -> int:
    """Returns to the previous version."""
    entry = store.rollback(args.name)
    words = f"{args.name} is back on version {entry.version}."
    return _report(args, words, args.name, entry.version)


def push(store: Store, args: argparse.Namespace) -> int:
    """Copies a bundle into the store: from a folder, or from another store."""
    from modelpad.locations import locate_own_store, locate_store
    from modelpad.store import resolve_bundle

    source = locate_store(args.source, os.environ) if args.source else locate_own_store(os.environ)
    found = resolve_bundle(args.model, source)
    entry = store.push(found.bundle, found.name)
    words = f"Pushed {entry.name} as version {entry.version}. Next: modelpad serve {entry.name}"
    return _report(args, words, entry.name, entry.version)


def sync(store: Store, args: argparse.Namespace) -> int:
    """Copies what another store lacks into it."""
    from modelpad.locations import locate_store
    from modelpad.store import open_store
    from modelpad.store.sync import Copied, copy_missing

    target = open_store(locate_store(args.target, os.environ))
    copied = copy_missing(store, target, _discard if args.json else print)
    if args.json:
        print(json.dumps(asdict(copied)))
    elif copied == Copied():
        print(f"{target.location} has everything already.")
    return DONE


def pull(store: Store, args: argparse.Namespace) -> int:
    """Copies a version out of the store."""
    from pathlib import Path

    from modelpad.bundle import write_bundle
    from modelpad.store import resolve_bundle

    found = resolve_bundle(args.model, store.location)
    target = Path(args.folder)
    if target.exists():
        raise StoreError(
            f"{target} already exists.", hint="Choose a folder that does not exist yet."
        )
    files = {name: found.bundle.path(name) for name in found.bundle.manifest.files}
    write_bundle(target, found.bundle.manifest, files, found.bundle)
    return _report(args, f"Copied to {target}.", found.name, found.version)


def remove(store: Store, args: argparse.Namespace) -> int:
    """Removes one version."""
    entry = store.resolve(args.model)
    store.remove(f"{entry.name}@{entry.version}")
    return _report(args, f"Removed {entry.name}@{entry.version}.", entry.name, entry.version)


def _report(args: argparse.Namespace, words: str, name: str, version: int) -> int:
    print(json.dumps({"name": name, "version": version}) if args.json else words)
    return DONE


def _discard(_: str) -> None:
    """Prints nothing."""


def _write_metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {100 * value:.2f} %"
        if name.endswith("accuracy")
        else f"{name.replace('_', ' ')} {value:g}"
        for name, value in metrics.items()
    )
