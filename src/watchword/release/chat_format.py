"""The chat template and tokenizer that a release was trained with, kept inside it.

So a release is served on machines that never had its base model. The manifest's signed digest is over what stands in the
file: a changed one does not open.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import msgspec

from watchword.chat.template import ChatTemplate, TemplateParts
from watchword.errors import ModelUnavailableError
from watchword.files.atomic import replacing
from watchword.files.folders import PRIVATE_FILE

# Not of a kind that counts as weights (``models.digest``), so that releases of earlier versions can get one as well.
CHAT_FORMAT = "chat_format.gz"
# No tokenizer comes near it.
_MOST_BYTES = 1 << 28


def keep_format(folder: Path, template: ChatTemplate) -> None:
    """Puts the template into a release's folder. Raises OutputError."""
    with replacing(folder / CHAT_FORMAT, mode=PRIVATE_FILE) as stream:
        stream.write(gzip.compress(msgspec.json.encode(template.parts), mtime=0))


def kept_format(folder: Path, name: str) -> ChatTemplate | None:
    """The template in a release's folder, None where there is none. Raises ModelUnavailableError for a damaged one.

    Whoever reads it compares its digest with the manifest's. ``name`` is what messages call the model.
    """
    file = folder / CHAT_FORMAT
    try:
        parts = msgspec.json.decode(_unpacked(file.read_bytes()), type=TemplateParts)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, zlib.error, msgspec.MsgspecError, RecursionError) as error:
        raise ModelUnavailableError(f"the kept chat template cannot be read ({error}); restore it", path=file) from None
    return ChatTemplate.from_parts(parts, file, name)


def _unpacked(data: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=31)
    found = unpacking.decompress(data, _MOST_BYTES)
    if not unpacking.eof:
        raise ValueError("it is cut, or larger than any tokenizer")
    return found
