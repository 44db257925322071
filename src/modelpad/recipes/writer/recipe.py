"""The writer recipe from top to bottom: texts, tokens, training, int8, test, card."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from modelpad.convert.prove import open_session
from modelpad.fields import Signature, Text
from modelpad.recipes.text.fitting import fit_language, shorten
from modelpad.recipes.text.language import Measured, measure
from modelpad.recipes.text.network import LanguageModel
from modelpad.recipes.text.precision import read_nats
from modelpad.recipes.text.source import LanguageSource
from modelpad.recipes.text.writing import Diversity, continue_texts, longest_copy, measure_diversity
from modelpad.recipes.writer import WriterOptions
from modelpad.recipes.writer.baseline import compare, measure_baseline
from modelpad.recipes.writer.data import WriterData, load_writer_data
from modelpad.recipes.writer.model import choose_shape
from modelpad.training.card import Card
from modelpad.training.device import Device, choose_device
from modelpad.training.findings import Findings, Table, join_findings
from modelpad.training.options import extend_command
from modelpad.training.recipe import Example, TrainedSequence
from modelpad.training.run import Run

EPOCHS = {"cpu": 1, "cuda": 9}
PROVED, PROVED_TOKENS = 12, 200  # texts, and tokens of each
TOLERANCES = {"float32": 1e-3, "int8": 0.2}
ALLOWED_LOSS = 0.01  # of the bits per byte
JUDGED_TOKENS = 50_000
PROMPTS = ("My favorite part was when", "The film begins", "I went to see it because")
COMPARED = 40  # texts that are written and compared with real ones
WRITTEN = 150  # tokens
SHOWN = 5
COPIED = 3  # texts that are searched for in the training text
MAX_PROMPT, MAX_TEXT = 1_000_000, 10_000_000
LIMITS = (
    "It has learnt how such texts are written, not what is true: names, facts and opinions are"
    " invented.",
    "It repeats what its training texts say, insults and prejudices included.",
)


def train(options: WriterOptions, run: Run) -> TrainedSequence:
    """Trains, tests and describes a language model."""
    device = choose_device()
    run.set_epochs(EPOCHS[device.name])
    data = load_writer_data(options, run)
    shape = choose_shape(options, data.tokenizer.get_vocab_size())
    torch.manual_seed(run.seed)
    net = LanguageModel(shape)
    fit_language(net, data.corpora, run, device, options.optimizer)

    run.print(f"Testing on {len(data.test):,} texts.")
    tested = measure(net, data.test, device)
    net.cpu()
    source = LanguageSource(net, data.tokenizer.to_str())
    source, note = choose_precision(source, data, quantize=options.quantize == "auto")
    baseline = compare(measure_baseline(options, data, run), tested)
    findings = join_findings(describe_test(net, data, tested, run, device), baseline)
    return TrainedSequence(
        source=source,
        task="text-generation",
        signature=Signature((Text("prompt", MAX_PROMPT),), (Text("text", MAX_TEXT),)),
        proof=pick_proof(data),
        metrics={},
        card=describe_model(options, net, data, run, note),
        findings=findings,
        examples=[Example({"prompt": prompt}) for prompt in PROMPTS],
        tolerance=TOLERANCES[source.precision],
    )


def choose_precision(
    source: LanguageSource, data: WriterData, *, quantize: bool
) -> tuple[LanguageSource, str]:
    """The model in int8 if that costs less than 1 % of the bits per byte; and a note."""
    if not quantize:
        return source, ""
    small = replace(source, precision="int8")
    judged = shorten(data.corpora.validation, JUDGED_TOKENS)
    nats = [
        read_nats(open_session(each.export().SerializeToString()), each.sequence, judged)
        for each in (source, small)
    ]
    before, after = (each / np.log(2) / int(judged.bytes_of.sum()) for each in nats)
    figures = f"{after:.4f} bits per byte on {len(judged):,} texts, {before:.4f} in float32"
    if after > before * (1 + ALLOWED_LOSS):
        return source, f"Stored in float32, as int8 would lose too much: {figures}."
    return small, f"Stored in int8: {figures}."


def pick_proof(data: WriterData) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """The beginnings of some test texts, as tokens."""
    count = min(PROVED, len(data.test))
    return [data.test.text(index)[:PROVED_TOKENS].astype(np.int64) for index in range(count)]


def describe_test(
    net: LanguageModel, data: WriterData, tested: Measured, run: Run, device: Device
) -> Findings:
    """The likelihood of the test texts, and continuations beside real texts."""
    metrics = {
        "test_bits_per_byte": tested.bits_per_byte,
        "test_token_perplexity": tested.token_perplexity,
        "test_word_perplexity": tested.word_perplexity,
    }
    notes = (
        f"Bits per byte: the information in {tested.text_bytes:,} bytes of test text in UTF-8,"
        " each text on its own and with its end, divided by these bytes. It does not depend on the"
        " tokenizer.",
        f"Perplexities: per token of the model's own vocabulary ({tested.tokens:,} tokens), and per"
        f" word between white space ({tested.words:,} words).",
    )
    return Findings(metrics=metrics, notes=notes, tables=compare_writing(net, data, run, device))


def compare_writing(
    net: LanguageModel, data: WriterData, run: Run, device: Device
) -> tuple[Table, ...]:
    """A table of continuations, and one that compares their variety with that of real texts."""
    tokenizer = data.tokenizer
    prompt = tokenizer.encode(PROMPTS[0]).ids
    count = min(COMPARED, len(data.test))
    written = continue_texts(net, [prompt] * count, WRITTEN, device, seed=run.seed)
    real = [data.test.text(index)[1 : WRITTEN + 1].tolist() for index in range(count)]
    rows = [(PROMPTS[0], tokenizer.decode(text).strip()) for text in written[:SHOWN]]
    found: list[tuple[str, Diversity]] = [
        ("written", measure_diversity(written)),
        ("real", measure_diversity(real)),
    ]
    tokens = data.corpora.train.tokens
    copies = {
        "written": max((longest_copy(text, tokens) for text in written[:COPIED]), default=0),
        "real": max((longest_copy(text, tokens) for text in real[:COPIED]), default=0),
    }
    compared = [
        (
            name,
            f"{each.distinct_pairs:.3f}",
            f"{100 * each.repeated_runs:.2f} %",
            f"{copies[name]}",
        )
        for name, each in found
    ]
    columns = ("texts", "distinct pairs of tokens", "repeated runs of 4", "longest copy, tokens")
    note = (
        f"{count} texts of at most {WRITTEN} tokens each: continuations at temperature 0.8 and"
        " top-p 0.95, and test texts. The longest copy is that from the training texts, in"
        f" {COPIED} of them."
    )
    return (
        Table("Continuations", ("prompt", "continuation"), rows),
        Table("Variety", columns, compared, note),
    )


def describe_model(
    options: WriterOptions, net: LanguageModel, data: WriterData, run: Run, note: str
) -> Card:
    """The card."""
    shape = net.encoder.shape
    names = {"mingru": "blocks with a linear recurrence (minGRU)", "lstm": "LSTM layers (AWD-LSTM)"}
    licences = dict.fromkeys(row.licence for row in data.sources)
    return Card(
        title=run.request.name.replace("-", " ").capitalize(),
        summary="Continues a text, as the texts that it was trained on might go on.",
        data=data.sources,
        licence="; ".join(licences),
        architecture=f"{shape.blocks} {names[shape.arch]} of {shape.width},"
        f" {shape.vocabulary:,} byte-level BPE tokens, tied embedding of {shape.embedding}",
        parameters=sum(each.numel() for each in net.parameters()),
        training={
            "architecture": options.arch,
            "command": extend_command(
                f"modelpad train writer --epochs {run.epochs} --seed {run.seed}",
                options.optimizer.chosen,
            ),
        },
        limits=LIMITS,
        notes=tuple(filter(None, (*data.notes, note))),
    )
