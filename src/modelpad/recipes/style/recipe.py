"""The style recipe from top to bottom: pictures, training, comparison, card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from modelpad.datasets.load import locate
from modelpad.errors import TrainingFailed, UsageError
from modelpad.fields.picture_format import PictureFormat
from modelpad.recipes.style import StyleOptions
from modelpad.recipes.style.data import Paintings, Photos, load_paintings, load_photos, to_pixels
from modelpad.recipes.style.fitting import Fitter, Plan, read_grams
from modelpad.recipes.style.flicker import LEVELS, measure_flicker
from modelpad.recipes.style.losses import Critic, Layers, Target, Weights, choose_layers
from modelpad.recipes.style.network import Painter
from modelpad.recipes.style.optimise import Settings, Style, paint, resize
from modelpad.recipes.style.pretrained import Pretrained, load_pretrained
from modelpad.recipes.style.served import make_source, plan_inputs, plan_outputs
from modelpad.recipes.style.vgg import Vgg, find_weights, load_vgg
from modelpad.training.card import Card, DataRow
from modelpad.training.device import choose_device
from modelpad.training.findings import Figure, Findings, join_findings
from modelpad.training.recipe import Example, Trained
from modelpad.training.run import Run

WIDTHS, BLOCKS = (16, 32, 48), 4
EPOCHS, EPOCHS_MORE = 16, 4  # from scratch, from another painter
RATE, RATE_MORE = 2e-3, 1e-3
MIN_STEPS = 20  # in an epoch
HELD_OUT = 10
SHOWN = 4  # photographs in each preview
PROVED = 4  # photographs
OPTIMISED = 300  # evaluations of an optimised picture
PREVIEWS = "report/previews"
JPEG = PictureFormat("jpeg")
THUMBNAIL = 96  # pixels
TOLERANCE = 1e-3


def train(options: StyleOptions, run: Run) -> Trained:
    """Trains a painter, compares it with optimised pictures if asked, and describes it."""
    check_options(options)
    pretrained = load_pretrained(options.from_, run.request.store) if options.from_ else None
    run.set_epochs(EPOCHS_MORE if pretrained else EPOCHS)
    roots = run.request.roots
    device = choose_device()
    vgg = load_vgg(find_weights(list_folders(run))).to(
        device.name, memory_format=torch.channels_last
    )  # type: ignore[call-overload]
    critic = Critic(vgg, choose_scales(vgg, options.scales))
    paintings = load_paintings(options.paintings, roots, options.painting_size)
    folder = locate(options.photos or run.request.data, roots)
    run.data_name = folder.name
    photos, skipped = load_photos(
        folder,
        options.size,
        limit=run.request.limit,
        skip_unreadable=run.request.skip_unreadable,
    )
    learned, held = split_photos(photos)
    run.print(
        f"{len(paintings.names)} paintings, {len(learned):,} photographs, {len(held):,} held out;"
        f" {critic.layers.describe()}; on {device.name}."
    )
    half = device.dtype is torch.bfloat16
    painter = start_painter(paintings, pretrained, run.seed)
    plan = make_plan(options, run, len(learned), half=half)
    best, judged = fit(run, painter, plan, critic, paintings, (learned, held))
    findings = join_findings(
        Findings(
            metrics={f"held_out_{name}": value for name, value in judged.items()},
            notes=[
                f"The losses are means over {len(held)} photographs, relative to pictures that"
                " have nothing in common with the photograph or the painting."
            ],
        ),
        compare(options, run, critic, paintings, best, held),
    )
    card = describe(options, paintings, best, (len(learned), skipped), run)
    return finish(best, paintings, held, card, findings, list_previews(run))


def finish(
    painter: Painter,
    paintings: Paintings,
    held: Photos,
    card: Card,
    findings: Findings,
    figures: Sequence[Figure] = (),
) -> Trained:
    """The painter, ready to be exported, proved and served; `held` photographs are its examples."""
    names = paintings.names
    source = make_source(painter.cpu().eval(), len(names))
    thumbnails = {
        f"samples/style-{index}.jpg": JPEG.encode(draw_thumbnail(painting))
        for index, painting in enumerate(paintings.pictures)
    }
    style = np.eye(len(names), dtype=np.float32)
    shown = held[:PROVED]
    return Trained(
        source=source,
        inputs=plan_inputs(source, names, tuple(thumbnails)),
        outputs=plan_outputs(source),
        proof={
            "image": shown.astype(np.float32),
            "style": np.stack([style[index % len(style)] for index in range(len(shown))]),
            "strength": np.linspace(1, 0.5, len(shown), dtype=np.float32),
            "preserve_colour": np.linspace(0, 1, len(shown), dtype=np.float32),
        },
        metrics={},
        card=card,
        findings=findings,
        examples=[
            Example({"image": JPEG.encode(photo), "style": name})
            for photo, name in zip(held, names, strict=False)
        ],
        figures=figures,
        files=thumbnails,
        tolerance=TOLERANCE,
    )


def draw_thumbnail(painting: torch.Tensor) -> Photos:
    """The square in the middle of a painting (3, h, w) as pixels (T, T, 3)."""
    height, width = painting.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = painting[None, :, top : top + side, left : left + side]
    return to_pixels(resize(square, (THUMBNAIL, THUMBNAIL))[0])


def check_options(options: StyleOptions) -> None:
    """Raises `UsageError` for a size, a weight or a number that makes no sense."""
    limits = (
        ("size", options.size, 64, 1024),
        ("painting-size", options.painting_size, 64, 2048),
        ("style-weight", options.style_weight, 0, 1e6),
        ("variation-weight", options.variation_weight, 0, 1e6),
        ("flicker-weight", options.flicker_weight, 0, 1e6),
        ("scales", options.scales, 1, 4),
        ("batch-size", options.batch_size, 1, 256),
        ("compare", options.compare, 0, HELD_OUT),
    )
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise UsageError(f"--{name} is {value}.", hint=f"Give {low:g} to {high:g}.")
    if options.size % 16:
        raise UsageError(f"--size is {options.size}.", hint="Give a multiple of 16.")


def list_folders(run: Run) -> list[Path]:
    """Where VGG-19's weights may be."""
    cache = [run.request.cache] if run.request.cache else []
    return [root / "vgg19" for root in (*run.request.roots, *cache)]


def choose_scales(vgg: Vgg, count: int) -> Layers:
    """The layers to compare, at `count` scales."""
    layers = choose_layers(vgg)
    return Layers(layers.style, layers.content, tuple(2**power for power in range(count)))


def split_photos(photos: Photos) -> tuple[Photos, Photos]:
    """The photographs to train on, and evenly spread others that are held out."""
    count = min(HELD_OUT, max(1, len(photos) // 5))
    chosen = np.linspace(0, len(photos) - 1, 2 * count + 1)[1::2].astype(int)
    return np.delete(photos, chosen, axis=0), photos[chosen]


def start_painter(paintings: Paintings, pretrained: Pretrained | None, seed: int) -> Painter:
    """A painter with random weights, or with those of another one."""
    torch.manual_seed(seed)
    painter = Painter(len(paintings.names), WIDTHS, BLOCKS)
    if pretrained:
        pretrained.start(painter, paintings.names)
    return painter


def make_plan(options: StyleOptions, run: Run, photos: int, *, half: bool) -> Plan:
    """How to train; a painter that can paint already needs no small crops first."""
    more = options.from_ is not None
    return Plan(
        run.epochs,
        max(MIN_STEPS, photos // options.batch_size),
        options.batch_size,
        (options.size if more else options.size // 2, options.size),
        rate=RATE_MORE if more else RATE,
        weights=Weights(
            1.0, options.style_weight, options.variation_weight, options.flicker_weight
        ),
        half=half,
        seed=run.seed,
    )


def fit(
    run: Run,
    painter: Painter,
    plan: Plan,
    critic: Critic,
    paintings: Paintings,
    photos: tuple[Photos, Photos],
) -> tuple[Painter, dict[str, float]]:
    """Trains in epochs; the one with the lowest loss on held-out photographs, and its losses."""
    learned, held = photos
    device = critic.vgg.mean.device
    grams = read_grams(critic, [picture.to(device) for picture in paintings.pictures])
    fitter = Fitter(painter, critic, learned, grams, plan)
    run.restore(fitter.load)
    with run.interruptible():
        for epoch in run.remaining_epochs():
            means = fitter.train_epoch(epoch, report_steps(run, epoch, plan.steps))
            judged = validate(fitter, held, plan.sides[1])
            write_preview(run, epoch, fitter, held)
            run.log(epoch, means | {f"val_{name}": value for name, value in judged.items()})
            if not np.isfinite(judged["loss"]):
                raise TrainingFailed(
                    "The loss is not finite any more.", hint="Try a smaller --style-weight."
                )
            run.save(fitter.save, loss=judged["loss"])
    run.restore_best(fitter.load)
    return fitter.best, validate(fitter, held, plan.sides[1])


def validate(fitter: Fitter, held: Photos, side: int) -> dict[str, float]:
    """The mean losses on held-out photographs, each in one style in turn.

    `warping_error` is how much a place changes between two frames, in levels of 255.
    """
    painter, rows = fitter.best, []
    draw = np.random.default_rng(0)
    with torch.no_grad():
        for index, photo in enumerate(held):
            chosen = torch.tensor([index % fitter.styles], device=fitter.device)
            pixels = fitter.to_device(crop_centre(photo, side)[None])
            losses, painted = fitter.paint_and_judge(painter, pixels, chosen)
            moved = fitter.draw_move(draw, pixels)
            flicker = measure_flicker(painter, pixels, fitter.encode(chosen), painted, moved)
            parts = (losses.total(fitter.plan.weights), losses.content, losses.style, flicker)
            rows.append([float(part) for part in parts])
    loss, content, style, flicker = np.mean(rows, axis=0).tolist()
    return {
        "loss": loss + fitter.plan.weights.flicker * flicker,
        "content": content,
        "style": style,
        "warping_error": LEVELS * flicker**0.5,
    }


def crop_centre(photo: Photos, side: int) -> Photos:
    """The square of `side` pixels in the middle of a photograph."""
    top = (len(photo) - side) // 2
    return photo[top : top + side, top : top + side]


def report_steps(run: Run, epoch: int, steps: int) -> Callable[[int, dict[str, float]], None]:
    """Shows the progress of an epoch."""

    def report(step: int, means: dict[str, float]) -> None:
        run.progress(epoch, step, steps, {"loss": means["loss"]})

    return report


def write_preview(run: Run, epoch: int, fitter: Fitter, held: Photos) -> None:
    """A sheet of the same photographs after each epoch, one column for each style."""
    rows = []
    for photo in held[:SHOWN]:
        photo = crop_centre(photo, len(photo) // 16 * 16)
        painted = paint_all(fitter.best, fitter.to_device(photo[None]))
        rows.append(np.concatenate([photo, *map(to_pixels, painted)], axis=1))
    path = run.folder / PREVIEWS / f"epoch-{epoch + 1:03d}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(JPEG.encode(np.concatenate(rows)))


def paint_all(painter: Painter, photo: torch.Tensor) -> list[torch.Tensor]:
    """One photograph (1, 3, H, W) in every style (3, H, W)."""
    styles = torch.eye(len(painter.down.norm.scale), device=photo.device)
    with torch.no_grad():
        return [painter(photo, style[None])[0] for style in styles]


def list_previews(run: Run) -> list[Figure]:
    """The sheets of all epochs, the last one first."""
    files = sorted((run.folder / PREVIEWS).glob("epoch-*.jpg"), reverse=True)
    return [
        Figure(
            f"{PREVIEWS}/{file.name}",
            "Held-out photographs after each epoch",
            "photographs, and the same in each style",
            file.read_bytes(),
            caption=f"epoch {int(file.stem.rpartition('-')[2])}",
        )
        for file in files
    ]


def compare(
    options: StyleOptions,
    run: Run,
    critic: Critic,
    paintings: Paintings,
    painter: Painter,
    held: Photos,
) -> Findings:
    """The losses of painted pictures, as multiples of those of optimised ones."""
    if not options.compare:
        return Findings()
    device = critic.vgg.mean.device
    weights = Weights(1.0, options.style_weight, options.variation_weight)
    ratios = []
    for index, photo in enumerate(held[: options.compare]):
        run.print(f"Optimising held-out photograph {index + 1} of {options.compare}.")
        chosen = index % len(paintings.names)
        pixels = torch.from_numpy(crop_centre(photo, options.size).copy())
        picture = pixels.permute(2, 0, 1)[None].float().to(device)
        painting = paintings.pictures[chosen][None].to(device)
        ratios.append(measure_ratio(critic, painter, picture, (painting, chosen), weights))
    note = (
        f"The loss is that of {options.style_weight:g} times style and once content, on"
        f" {len(ratios)} held-out photographs of {options.size} pixels; optimised pictures had"
        f" {OPTIMISED} evaluations by L-BFGS."
    )
    return Findings(metrics={"loss_ratio": float(np.mean(ratios))}, notes=[note])


def measure_ratio(
    critic: Critic,
    painter: Painter,
    photo: torch.Tensor,
    style: tuple[torch.Tensor, int],
    weights: Weights,
) -> float:
    """The loss of a painted photograph (1, 3, H, W) divided by that of an optimised one."""
    painting, chosen = style
    with torch.no_grad():
        content = critic.read_content(photo)
        target = Target(critic.read_style(painting))
        painted = paint_all(painter, photo)[chosen][None].clamp(0, 255)
        energy = float((0.5 * content.square()).mean())
    settings = Settings(iterations=OPTIMISED, pyramid=False, weights=weights, energy=energy)
    best = paint(critic, photo, [Style(painting)], photo, settings, lambda progress: None)
    with torch.no_grad():
        losses = [
            float(critic.measure(each, content, [target], energy).total(weights))
            for each in (painted, best)
        ]
    return losses[0] / losses[1]


def describe(
    options: StyleOptions,
    paintings: Paintings,
    painter: Painter,
    photos: tuple[int, int],
    run: Run,
) -> Card:
    """The card."""
    count, skipped = photos
    names = ", ".join(paintings.names)
    notes = [f"{skipped:,} photographs could not be read and were skipped."] if skipped else []
    return Card(
        title=run.request.name.replace("-", " ").capitalize(),
        summary=f"Paints photographs in {len(paintings.names)} styles: {names}.",
        data=[
            DataRow("paintings", len(paintings.names), "as their files'", "the styles"),
            DataRow(run.data_name, count, "as their files'", "photographs to train on"),
        ],
        architecture="feed-forward style transfer with conditional instance normalisation",
        parameters=sum(each.numel() for each in painter.parameters()),
        training=describe_training(options),
        limits=("Faces and text are painted over like everything else.",),
        notes=notes,
    )


def describe_training(options: StyleOptions) -> dict[str, float | int | str]:
    """The settings that shape the result."""
    return {
        "optimizer": "Adam",
        "size": options.size,
        "painting_size": options.painting_size,
        "style_weight": options.style_weight,
        "variation_weight": options.variation_weight,
        "flicker_weight": options.flicker_weight,
        "scales": options.scales,
        "batch_size": options.batch_size,
    }
