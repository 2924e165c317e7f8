"""An archive that a student handed in, unpacked without trusting it.

Paths that lead outside, links and devices are left out and named; a bomb stops at the limits.
The archive's own name is never said: students are in it, and who marks them is not to know.
"""

from __future__ import annotations

import errno
import lzma
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from grading.outcome import EXHAUSTED
from grading.repair import COLLECTED, SKIPPED, Repair, files, shown

MAX_FILES = 2_000
MAX_BYTES = 500_000_000  # of all files together, unpacked
CHUNK = 1 << 20
NOTHING = "Nothing usable was handed in"  # how what is said of such an archive begins
EMPTY = "holds no notebook, Python file or checkpoint that can be taken"
# What a damaged archive makes the reader raise; an OSError too, unless it is one of this machine's.
DAMAGE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, ValueError, RuntimeError, IndexError,
    zlib.error, lzma.LZMAError, OSError,
)  # fmt: skip
OURS = (*EXHAUSTED, errno.EIO, errno.EROFS, errno.ESTALE)


def unpack(source: Path, folder: Path) -> list[Repair]:
    """Unpack the archive (or copy the folder) `source` into `folder`; say what was left out.

    Never raises for what is in it: an archive that cannot be opened gives an empty folder. Raises
    OSError for what is not the student's fault: a full disk, a file that may not be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        _copy(source, folder)
        return [] if usable(folder) else [Repair("", f"{NOTHING}: the folder {EMPTY}.")]
    with source.open("rb") as file:
        try:
            repairs = _open(file, folder)
        except DAMAGE as error:
            _raise_if_ours(error)
            if usable(folder):
                return [Repair("", "The archive could not be read to its end.")]
            why = "could not be opened as a zip archive"
            why += "" if source.stat().st_size else " (it has 0 bytes)"
            return [Repair("", f"{NOTHING}: the archive {why}; please hand in again.")]
    return repairs if usable(folder) else [*repairs, Repair("", f"{NOTHING}: the archive {EMPTY}.")]


def usable(folder: Path) -> bool:
    """Whether there is any file that counts in a folder."""
    return any(path.suffix in COLLECTED for path in files(folder))


def newest_date(source: Path) -> tuple[int, ...]:
    """The latest date of a file in an archive or a folder; () where there is none to be read."""
    try:
        if source.is_dir():
            times = [path.stat().st_mtime for path in files(source)]
            return tuple(time.localtime(max(times))[:6]) if times else ()
        with zipfile.ZipFile(source) as archive:
            return max((member.date_time for member in archive.infolist()), default=())
    except DAMAGE as error:
        _raise_if_ours(error)
        return ()


def _raise_if_ours(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in OURS:
        raise error


def _copy(source: Path, folder: Path) -> None:
    for path in files(source):
        place = folder / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place, follow_symlinks=False)


def _open(file: BinaryIO, folder: Path) -> list[Repair]:
    """Unpack an archive; if all that it holds is one archive, that one, and no further."""
    with zipfile.ZipFile(file) as archive:
        inner = _only_archive(archive)
        if inner is None:
            return _unzip(archive, folder)
        with tempfile.TemporaryFile(dir=folder) as copy:
            _pour(archive, inner, copy, MAX_BYTES)
            with zipfile.ZipFile(copy) as archive:
                repairs = _unzip(archive, folder)
    return [Repair("", "The archive held another archive, which was opened."), *repairs]


def _only_archive(archive: zipfile.ZipFile) -> zipfile.ZipInfo | None:
    """The one archive in an archive without a file that counts, or None."""
    inner = []
    for member in archive.infolist():
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if member.is_dir() or not set(SKIPPED).isdisjoint(name.parts):
            continue
        if name.suffix in COLLECTED:
            return None
        if name.suffix.lower() == ".zip" and not _refused(member, name):
            inner.append(member)
    return inner[0] if len(inner) == 1 else None


def _unzip(archive: zipfile.ZipFile, folder: Path) -> list[Repair]:
    left, repairs = MAX_BYTES, []
    members = [m for m in archive.infolist() if not m.is_dir()]
    top = _common_folder([m.filename for m in members])
    for number, member in enumerate(members):
        name = PurePosixPath(member.filename.replace("\\", "/"))
        parts = name.parts[1:] if top else name.parts
        if not set(SKIPPED).isdisjoint(parts) or name.suffix not in COLLECTED:
            continue
        said, reason = shown(PurePosixPath(*parts)), _refused(member, name)
        if number >= MAX_FILES:
            reason = f"the archive has more than {MAX_FILES} files"
        elif not reason and member.file_size > left:
            size, most = f"{member.file_size / 1e6:,.1f} MB", f"{MAX_BYTES / 1e6:.0f} MB"
            reason = f"it has {size}, and with it the archive unpacks to more than {most}"
        if reason:
            repairs.append(Repair(said, f"it was left out: {reason}."))
            if number >= MAX_FILES:
                break
            continue
        place = folder.joinpath(*parts)
        try:
            left -= _write(archive, member, place, left)
        except FileExistsError:
            repairs.append(Repair(said, "it is in the archive twice; the first was taken."))
        except DAMAGE as error:
            _raise_if_ours(error)
            if place.is_file():
                place.unlink()
            text = f"it is damaged in the archive and was left out ({type(error).__name__})."
            repairs.append(Repair(said, text))
    return repairs


def _refused(member: zipfile.ZipInfo, name: PurePosixPath) -> str:
    """Why a member is not unpacked; empty if it is."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "it is a link or a device, not an ordinary file"
    if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        return "its path leads out of the archive"
    longest = max(len(part.encode("utf-8", "replace")) for part in name.parts)
    if longest > 200 or len(name.parts) > 8:
        return "its path is too long"
    return ""


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path, left: int) -> int:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("xb") as target:
        return _pour(archive, member, target, left)


def _pour(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: BinaryIO, left: int) -> int:
    """Write a member's content, of at most `left` bytes, into a file; how many they are."""
    written = 0
    with archive.open(member) as source:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > left:  # the size in the archive's directory may lie
                raise ValueError("unpacks to more than it says")
            target.write(chunk)
    return written


def _common_folder(names: list[str]) -> str | None:
    """The folder that holds everything, when somebody zipped a folder and not its content."""
    tops = {PurePosixPath(name.replace("\\", "/")).parts[:1] for name in names}
    tops = {top[0] for top in tops if top and top[0] not in SKIPPED}
    inside = all("/" in name.replace("\\", "/") for name in names)
    top = tops.pop() if len(tops) == 1 and inside else None
    return top if top not in (None, "cs231n", "checkpoints", "..", "/") else None
