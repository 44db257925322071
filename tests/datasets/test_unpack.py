"""Archives are unpacked whole or not at all, inside their folder, within limits."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import random
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from modelpad.datasets.progress import ProgressUpdate
from modelpad.datasets.unpack import UnpackLimits, unpack_archive
from modelpad.errors import DataSetInvalid, ModelpadError, TooLarge

FILES = {"train/a/1.txt": b"one", "train/b/2.txt": b"two" * 5000, "empty.txt": b""}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return path


def make_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, body in members:
            archive.addfile(member, io.BytesIO(body))
    path.write_bytes(COMPRESS["".join(path.suffixes)](buffer.getvalue()))
    return path


def tar_member(
    name: str, body: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(body), kind, link
    return member, body


def read_tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refuse(archive: Path, error: type[ModelpadError], match: str, **options: object) -> None:
    """The archive is refused, and nothing is left behind, inside or outside of the folder."""
    target = archive.parent / "out" / "target"
    before = set(archive.parent.rglob("*"))
    with pytest.raises(error, match=match):
        unpack_archive(archive, target, **options)  # type: ignore[arg-type]
    assert set(archive.parent.rglob("*")) - before <= {target.parent}


@pytest.mark.parametrize("suffix", [".zip", *COMPRESS])
def test_every_format_is_unpacked(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    if suffix == ".zip":
        make_zip(path, FILES)
    else:
        make_tar(path, *(tar_member(f"./{name}", body) for name, body in FILES.items()))
    folder = unpack_archive(path, tmp_path / "out")
    assert read_tree(folder) == FILES
    assert [child.name for child in tmp_path.iterdir() if child.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("name", "compress"), [("a.csv.gz", gzip.compress), ("a.csv.xz", lzma.compress)]
)
def test_a_single_compressed_file_is_unpacked(
    tmp_path: Path, name: str, compress: Callable[[bytes], bytes]
) -> None:
    (tmp_path / name).write_bytes(compress(b"text\none\n") + compress(b"two\n"))
    folder = unpack_archive(tmp_path / name, tmp_path / "out")
    assert read_tree(folder) == {"a.csv": b"text\none\ntwo\n"}


def test_many_members_of_every_size_survive_tar(tmp_path: Path) -> None:
    files = {f"{size}": bytes(i % 251 for i in range(size)) for size in (0, 1, 511, 512, 513, 1024)}
    files |= {"long/" + "n" * 180: b"long name", "large": b"x" * 3_000_000}
    path = make_tar(tmp_path / "a.tar.gz", *(tar_member(n, b) for n, b in files.items()))
    assert read_tree(unpack_archive(path, tmp_path / "out")) == files


def test_what_is_there_is_not_unpacked_again(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", FILES)
    folder = unpack_archive(path, tmp_path / "out")
    (folder / "empty.txt").write_bytes(b"mine")
    unpack_archive(path, folder)
    assert (folder / "empty.txt").read_bytes() == b"mine"


def test_the_checksum_is_compared_first(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", FILES)
    refuse(path, DataSetInvalid, "SHA-256", sha256="0" * 64)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert unpack_archive(path, tmp_path / "right", sha256=right.upper()).is_dir()


def test_progress_ends_with_all_bytes(tmp_path: Path) -> None:
    updates: list[ProgressUpdate] = []
    unpack_archive(make_zip(tmp_path / "a.zip", FILES), tmp_path / "out", progress=updates.append)
    total = sum(map(len, FILES.values()))
    assert updates[-1] == ProgressUpdate("unpack", "a.zip", total, total, "bytes", finished=True)


UNSAFE_NAMES = ["../out.txt", "a/../../out.txt", "/tmp/out.txt", "C:/out.txt", "a\\..\\out.txt"]


@pytest.mark.parametrize("name", UNSAFE_NAMES)
@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".zip":
        make_zip(path, {"fine.txt": b"1", name: b"2"})
    else:
        make_tar(path, tar_member("fine.txt", b"1"), tar_member(name, b"2"))
    refuse(path, DataSetInvalid, "leads out of the archive")


def test_a_name_cut_by_a_null_byte_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"abcd": b"1"})
    path.write_bytes(path.read_bytes().replace(b"abcd", b"ab\0d"))
    refuse(path, DataSetInvalid, "leads out of the archive")


@pytest.mark.parametrize("target", ["../../etc/passwd", "/etc/passwd", "fine.txt"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_tar_are_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    members = [tar_member("fine.txt", b"1"), tar_member("link", kind=kind, link=target)]
    refuse(make_tar(tmp_path / "a.tar.gz", *members), DataSetInvalid, "'link', a link")


def test_a_file_cannot_be_written_through_a_link(tmp_path: Path) -> None:
    members = [
        tar_member("dir", kind=tarfile.SYMTYPE, link=str(tmp_path / "victim")),
        tar_member("dir/file.txt", b"overwritten"),
    ]
    refuse(make_tar(tmp_path / "a.tar", *members), DataSetInvalid, "a link")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_in_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    refuse(make_tar(tmp_path / "a.tar", tar_member("dev", kind=kind)), DataSetInvalid, "a device")


@pytest.mark.parametrize(
    ("mode", "word"), [(stat.S_IFLNK, "link"), (stat.S_IFCHR, "device"), (stat.S_IFIFO, "device")]
)
def test_links_and_devices_in_zip_are_refused(tmp_path: Path, mode: int, word: str) -> None:
    entry = zipfile.ZipInfo("odd")
    entry.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    refuse(tmp_path / "a.zip", DataSetInvalid, f"a {word}")


def test_a_bomb_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"zeros": bytes(3_000_000)})
    limits = UnpackLimits(max_bytes=2_000_000)
    refuse(path, TooLarge, "decompression bomb", limits=limits)
    refuse(
        make_tar(tmp_path / "a.tar.gz", tar_member("zeros", bytes(3_000_000))),
        TooLarge,
        "decompression bomb",
        limits=limits,
    )


@pytest.mark.parametrize("name", ["zeros.gz", "zeros.bz2", "zeros.xz"])
def test_a_bomb_is_refused_by_what_it_writes(tmp_path: Path, name: str) -> None:
    compress: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
    }
    (tmp_path / name).write_bytes(compress[name[5:]](bytes(3_000_000)))
    limits = UnpackLimits(max_bytes=2_000_000)
    refuse(tmp_path / name, TooLarge, "decompression bomb", limits=limits)


def test_a_zip_that_declares_too_little_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"zeros": bytes(3_000_000)})
    body = path.read_bytes().replace(struct.pack("<I", 3_000_000), struct.pack("<I", 1000))
    path.write_bytes(body)
    refuse(path, DataSetInvalid, "cannot be unpacked")


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"zeros": bytes(3_000_000)})
    assert path.stat().st_size * 200 < 3_000_000
    refuse(path, TooLarge, "decompression bomb", limits=UnpackLimits(ratio_from_bytes=1000))


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    limits = UnpackLimits(max_members=10)
    files = {f"{index}": b"" for index in range(11)}
    refuse(make_zip(tmp_path / "a.zip", files), TooLarge, "more than 10 files", limits=limits)
    tar = make_tar(tmp_path / "a.tar", *map(tar_member, files))
    refuse(tar, TooLarge, "more than 10 files", limits=limits)


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    header, _ = tar_member("long", kind=tarfile.GNUTYPE_LONGNAME)
    header.size = 100 << 20
    body = header.tobuf(tarfile.GNU_FORMAT) + bytes(100 << 20)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(body, 1))
    refuse(tmp_path / "a.tar.gz", TooLarge, "header of more than")


def test_an_xz_file_that_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    body = bytearray(lzma.compress(b"text"))
    start, size = 12, (body[12] + 1) * 4  # the header of the first block
    body[body.index(b"\x21\x01", start) + 2] = 37  # a dictionary of 3 GiB
    checksum = zlib.crc32(body[start : start + size - 4])
    body[start + size - 4 : start + size] = struct.pack("<I", checksum)
    (tmp_path / "a.xz").write_bytes(bytes(body))
    refuse(tmp_path / "a.xz", DataSetInvalid, "[Mm]emory")


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    members = [tar_member("a.txt", b"1"), tar_member("./A.txt", b"2")]
    refuse(make_tar(tmp_path / "a.tar", *members), DataSetInvalid, "more than once")


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    members = [tar_member("a", b"1"), tar_member("a/b", b"2")]
    refuse(make_tar(tmp_path / "a.tar", *members), DataSetInvalid, "cannot be unpacked")


@pytest.mark.parametrize("suffix", [".zip", *COMPRESS])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_truncated_archive_is_refused(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"a{suffix}"
    body = random.Random(1).randbytes(50_000)
    if suffix == ".zip":
        make_zip(path, {"a": body, "b": body})
    else:
        make_tar(path, tar_member("a", body), tar_member("b", body))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    refuse(path, DataSetInvalid, "cannot be unpacked")


def test_a_changed_byte_in_a_zip_is_found(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a": b"abcdefgh" * 100}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgX", 1))
    refuse(path, DataSetInvalid, "cannot be unpacked")


def test_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no archive at all")
    refuse(tmp_path / "a.zip", DataSetInvalid, "not an archive")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = make_zip(tmp_path / "a.zip", FILES)
    with pytest.raises(DataSetInvalid, match="cannot be unpacked into"):
        unpack_archive(path, tmp_path / "file" / "out")
