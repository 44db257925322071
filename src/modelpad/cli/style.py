"""`modelpad style CONTENT --like PAINTING`: paints one photograph by optimisation."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.cli.live_line import LiveLine
from modelpad.cli.main import DONE, add_common_options
from modelpad.cli.numbers import not_negative, positive
from modelpad.cli.output_files import check_parent, open_output
from modelpad.cli.settings import Settings
from modelpad.errors import MissingExtra, ModelpadError, UsageError
from modelpad.fields.picture_format import SUFFIXES, PictureFormat, read_quality
from modelpad.training.data_progress import format_seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelpad.recipes.style.exact import Commission
    from modelpad.recipes.style.optimise import Progress

EXAMPLE = """examples:
  modelpad style cat.jpg --like wave.jpg
  modelpad style cat.jpg --like wave.jpg --size 1024 --preserve-colour 1 -o painted.png
  modelpad style cat.jpg --like wave.jpg=2 --like scream.jpg=1 --iterations 500
  modelpad style cat.jpg --like wave.jpg --mask sky.png --like scream.jpg --mask ground.png
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("content", metavar="CONTENT", help="the photograph to paint")
    parser.add_argument(
        "--like",
        metavar="PAINTING[=WEIGHT]",
        action="append",
        required=True,
        help="the painting whose style to take; several are mixed by their weights",
    )
    parser.add_argument(
        "--mask",
        metavar="FILE",
        action="append",
        default=[],
        help="a picture that is white where a painting's style applies; one for each --like",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the painted picture: .png, .jpg, .webp or .gif (default: CONTENT-PAINTING.png)",
    )
    parser.add_argument("--quality", metavar="N", default="90", help="of .jpg and .webp, 1 to 100")
    add_picture_options(parser)
    add_optimiser_options(parser)
    parser.add_argument(
        "--preview", metavar="FILE", help="write the picture so far there every few iterations"
    )
    parser.add_argument(
        "--losses", metavar="FILE", help="write the losses as CSV, a row every few iterations"
    )
    add_common_options(parser)


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """Adds what shapes the result."""
    group = parser.add_argument_group("the picture")
    group.add_argument(
        "--size",
        type=int,
        default=512,
        metavar="PIXELS",
        help="its longer side; a smaller photograph keeps its size (default: %(default)s)",
    )
    group.add_argument(
        "--style-scale",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="size of the brush strokes (default: %(default)g)",
    )
    group.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of the painting in the result, 0 to 1 (default: %(default)g)",
    )
    group.add_argument(
        "--preserve-colour",
        type=float,
        default=0.0,
        nargs="?",
        const=1.0,
        metavar="SHARE",
        help="keep the photograph's colours, 0 to 1; without a number 1 (default: %(default)g)",
    )
    group.add_argument(
        "--init",
        default="content",
        metavar="content|noise|FILE",
        help="what to begin with (default: %(default)s)",
    )


def add_optimiser_options(parser: argparse.ArgumentParser) -> None:
    """Adds how to optimise."""
    group = parser.add_argument_group("the optimisation")
    group.add_argument(
        "--iterations",
        type=int,
        default=300,
        metavar="N",
        help="evaluations of the loss at the smallest size (default: %(default)s)",
    )
    group.add_argument(
        "--method",
        choices=("lbfgs", "adam"),
        default="lbfgs",
        help="the optimiser (default: %(default)s)",
    )
    weights = (("content", 1.0), ("style", 20.0), ("variation", 0.5))
    for name, default in weights:
        option = f"--{name}-weight"
        group.add_argument(
            option,
            type=not_negative(option, float),
            default=default,
            metavar="WEIGHT",
            help=f"weight of the {name} loss (default: %(default)g)",
        )
    group.add_argument(
        "--no-pyramid", action="store_true", help="do not paint large pictures small first"
    )
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of --init noise (default: %(default)s)",
    )
    group.add_argument(
        "--threads",
        type=positive("--threads", int),
        metavar="N",
        help="processor cores to use (default: all)",
    )


def run(args: argparse.Namespace) -> int:
    """Paints the photograph; progress goes to standard error."""
    output = Path(args.output or name_output(args))
    picture = PictureFormat(find_format(output), read_quality(args.quality))
    for place in (output, args.preview, args.losses):
        if place:
            check_parent(Path(place))
    try:
        import torch

        from modelpad.recipes.style.exact import carry_out, open_critic
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "torch", extra="train") from error
    if args.threads:
        torch.set_num_threads(args.threads)
    work = read_commission(args)
    settings = Settings.from_environment(args)
    critic = open_critic([root / "vgg19" for root in (*settings.data_roots, settings.cache)])
    print(f"Features: {critic.layers.describe()}.", file=sys.stderr)
    watcher = Watcher(args.preview, args.losses)
    pixels = carry_out(work, critic, watcher.see)
    write_picture(output, picture, pixels)
    watcher.finish()
    if args.json:
        facts = {"output": str(output), "seconds": round(watcher.seconds, 1)}
        print(json.dumps(facts | watcher.losses))
    else:
        print(f"Painted {output} in {format_seconds(watcher.seconds)}.")
    return DONE


def read_commission(args: argparse.Namespace) -> Commission:
    """The arguments as one value. Raises `UsageError`."""
    from modelpad.recipes.style.exact import Commission, read_likes
    from modelpad.recipes.style.losses import Weights
    from modelpad.recipes.style.optimise import Settings as OptimiserSettings

    weights = Weights(args.content_weight, args.style_weight, args.variation_weight)
    return Commission(
        photo=Path(args.content),
        likes=read_likes(args.like, args.mask),
        size=args.size,
        scale=args.style_scale,
        init=args.init,
        strength=args.strength,
        preserve_colour=args.preserve_colour,
        seed=args.seed,
        settings=OptimiserSettings(
            args.iterations, args.method, weights, pyramid=not args.no_pyramid
        ),
    )


def name_output(args: argparse.Namespace) -> str:
    """The default name of the result: next to the photograph."""
    content, painting = Path(args.content), Path(args.like[0].partition("=")[0])
    return str(content.with_name(f"{content.stem}-{painting.stem}.png"))


def find_format(output: Path) -> str:
    """The format that a file's name asks for. Raises `UsageError`."""
    name = SUFFIXES.get(output.suffix.lower())
    if name is None:
        raise UsageError(
            f"Pictures cannot be written as {output.suffix or output.name!r}.",
            hint=f"Use one of {', '.join(SUFFIXES)}.",
        )
    return name


def write_picture(path: Path, form: PictureFormat, pixels: NDArray[np.uint8]) -> None:
    """Writes a picture's file. Raises `ModelpadError` if it cannot be written."""
    try:
        path.write_bytes(form.encode(pixels))
    except OSError as error:
        raise ModelpadError(
            f"{path} cannot be written: {error.strerror}.", hint="Choose another place: -o FILE"
        ) from error


class Watcher:
    """Shows the progress, and writes previews and losses."""

    def __init__(self, preview: str | None, losses: str | None) -> None:
        self.losses: dict[str, float] = {}
        self._preview = Path(preview) if preview else None
        self._format = PictureFormat(find_format(self._preview)) if self._preview else None
        self._table = losses
        self._rows = ["evaluations,loss,content,style,variation"]
        self._line = LiveLine(sys.stderr)

    @property
    def seconds(self) -> float:
        """The time since it began."""
        return self._line.seconds

    def see(self, progress: Progress) -> None:
        """Shows one state."""
        from modelpad.recipes.style.data import to_pixels

        self.losses = {name: round(value, 5) for name, value in progress.losses.items()}
        self._rows.append(",".join(map(str, (progress.done, *self.losses.values()))))
        if self._preview and self._format:
            write_picture(self._preview, self._format, to_pixels(progress.picture[0]))
        text = f"{progress.done:,} of {progress.total:,}, loss {progress.losses['loss']:.3f}"
        self._line.show(text, progress.done / progress.total)
        if progress.done == progress.total:
            self._line.clear()
            print(text, file=sys.stderr)

    def finish(self) -> None:
        """Writes the table. Raises `UsageError` if it cannot be written."""
        if self._table:
            with open_output(self._table) as out:
                out.writelines(f"{row}\n" for row in self._rows)
