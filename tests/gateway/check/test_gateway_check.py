"""Servers that answer like vLLM, SGLang and llama.cpp, and a gateway: what is open is found, and nothing is set off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.gateway_parts import TENANT_KEY, Scripted, configuration, friendly, gateway, respond, served
from watchword.cli.app import run
from watchword.errors import CallError, UsageError
from watchword.gateway.check.checking import Checked, check
from watchword.gateway.check.tables import Advisory, advisories, doors

KEY = "engine-key"


@dataclass
class Engine:
    """Routes by path, each with its methods. ``guarded`` are prefixes that want the key. ``acted`` is what it was made to do."""

    routes: Mapping[str, tuple[str, ...]]
    pages: Mapping[str, Any] = field(default_factory=dict)
    guarded: tuple[str, ...] = ()
    # llama.cpp knows no such method where FastAPI says which there are.
    wrong_method: int = 405
    headers: Mapping[str, str] = field(default_factory=dict)
    acted: list[str] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, said = self._answer(scope["method"], scope["path"], dict(scope["headers"]), body)
        await respond(send, json.dumps(said).encode(), status, headers=self.headers)

    def _answer(self, method: str, path: str, headers: dict[bytes, bytes], body: bytes) -> tuple[int, Any]:
        key = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        if path.startswith(self.guarded) and key != KEY and self.guarded:
            return 401, {"error": "Unauthorized"}
        if path in self.pages and method == "GET":
            return 200, self.pages[path]
        if path not in self.routes:
            return 404, {"detail": "Not Found"}
        if method not in self.routes[path]:
            return self.wrong_method, {"detail": "Method Not Allowed"}
        try:
            json.loads(body)
        except ValueError:
            if body:
                return 422, {"detail": "JSON decode error"}
        self.acted.append(path)
        return 200, {}


def vllm(version: str = "0.33.0", *, key: bool = False, more: tuple[str, ...] = ()) -> Engine:
    posted = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/invocations", "/tokenize")
    actions = ("/pause", "/update_weights", "/v1/load_lora_adapter", *more)
    listed = {"data": [{"id": "ftm-1", "owned_by": "vllm", "root": "/srv/releases/bakery", "parent": "base"}]}
    pages = {"/version": {"version": version}, "/v1/models": listed, "/metrics": {}, "/docs": {}, "/openapi.json": {}}
    guarded = ("/v1", "/v2", "/inference") if key else ()
    return Engine(dict.fromkeys((*posted, *actions), ("POST",)), pages, guarded, headers={"server": "uvicorn"})


def sglang(version: str) -> Engine:
    info = {"version": version, "tp_size": 1, "disaggregation_mode": "null"}
    routes = {"/generate": ("POST", "PUT"), "/flush_cache": ("GET", "POST"), "/abort_request": ("POST",)}
    return Engine(routes, {"/get_server_info": info, "/v1/models": {"data": [{"id": "m", "owned_by": "sglang"}]}})


def llamacpp() -> Engine:
    props = {"default_generation_settings": {}, "chat_template": "…", "build_info": "b7421-1a2b3c4d"}
    routes = {"/completion": ("POST",), "/apply-template": ("POST",), "/v1/chat/completions": ("POST",)}
    pages = {"/props": props, "/slots": [{"prompt": "…"}], "/v1/models": {"data": []}}
    return Engine(routes, pages, wrong_method=404, headers={"Server": "llama.cpp"})


def checked(app: Any, **keys: str) -> Checked:
    with served(app) as port:
        return asyncio.run(check(f"http://127.0.0.1:{port}/v1", **keys))


def paths(found: Checked) -> set[str]:
    return {door.path for door in found.doors}


def test_an_open_vllm_is_found_out_and_nothing_is_set_off() -> None:
    engine = vllm()
    found = checked(engine)
    assert (found.product, found.version, found.well) == ("vllm", "0.33.0", False)
    assert paths(found) == {*engine.routes, "/metrics", "/docs", "/openapi.json", "/v1/models", "/v1/models (root)"}
    assert {door.whom for door in found.doors} == {"anybody"}
    assert engine.acted == []


def test_a_key_closes_what_it_covers_and_no_more() -> None:
    engine = vllm(key=True)
    found = checked(engine, server_key=KEY)
    assert paths(found) == {
        "/invocations",
        "/tokenize",
        "/pause",
        "/update_weights",
        "/metrics",
        "/docs",
        "/openapi.json",
    }
    assert found.product == "vllm"
    with_key = checked(vllm(key=True), tenant_key=KEY)
    whom = {door.path: door.whom for door in with_key.doors}
    assert whom["/invocations"] == "anybody"
    assert whom["/v1/completions"] == whom["/v1/load_lora_adapter"] == whom["/v1/models (root)"] == "a tenant's key"


@pytest.mark.parametrize(
    ("version", "certain"),
    [
        ("0.33.0", set()),
        ("0.31.2", {"CVE-2026-115918", "CVE-2026-115911"}),
        ("0.32.0rc1", set()),
        ("0.31.2.dev5+g1234", {"CVE-2026-115918", "CVE-2026-115911"}),
        ("unreadable", set()),
    ],
)
def test_known_faults_go_by_the_version(version: str, certain: set[str]) -> None:
    found = checked(vllm(version))
    assert {fault.id for fault in found.faults if fault.certain} == certain
    perhaps = {fault.id for fault in found.faults if not fault.certain}
    assert {"CVE-2026-54236", "vllm#30931"} <= perhaps
    assert ("CVE-2026-115918" in perhaps) == (version == "unreadable")


def test_sglang_is_known_by_its_page_and_its_cache_is_not_emptied() -> None:
    engine = sglang("0.5.9")
    found = checked(engine)
    assert (found.product, found.version) == ("sglang", "0.5.9")
    assert {"/generate", "/flush_cache", "/abort_request", "/get_server_info"} <= paths(found)
    assert {fault.id for fault in found.faults if fault.certain} == {"CVE-2026-3059", "CVE-2026-3060"}
    assert engine.acted == []


def test_llama_cpp_is_known_and_shows_its_slots() -> None:
    engine = llamacpp()
    found = checked(engine)
    assert (found.product, found.version) == ("llama.cpp", "b7421-1a2b3c4d")
    assert {"/completion", "/apply-template", "/props", "/slots", "/v1/chat/completions"} <= paths(found)
    assert {fault.id for fault in found.faults} == {"CVE-2026-21869"}
    assert engine.acted == []


def test_of_a_gateway_nothing_is_open_with_a_tenants_key_or_without(release: Path) -> None:
    with served(Scripted(friendly)) as behind, gateway(configuration(release, behind)) as port:
        url = f"http://127.0.0.1:{port}"
        for found in (asyncio.run(check(url)), asyncio.run(check(url, tenant_key=TENANT_KEY))):
            assert (found.product, found.doors, found.faults, found.unknown, found.well) == (
                "watchword",
                (),
                (),
                (),
                True,
            )


def test_a_server_that_says_yes_to_everything_is_not_accused() -> None:
    async def yes(_: Any, __: Any, send: Any) -> None:
        await respond(send, b"{}")

    found = checked(yes)
    assert found.doors == ()
    assert set(found.unknown) == {door.path for door in doors().doors}


def test_a_busy_server_is_not_called_open() -> None:
    async def busy(_: Any, __: Any, send: Any) -> None:
        await respond(send, b"{}", 503)

    assert checked(busy).doors == ()


def test_nobody_there_and_no_address_say_so() -> None:
    with pytest.raises(CallError, match="cannot be reached"):
        asyncio.run(check("http://127.0.0.1:1"))
    with pytest.raises(UsageError, match="no address of a server"):
        asyncio.run(check("10.0.0.5:8000"))


def test_the_tables_are_whole() -> None:
    table = doors()
    assert {door.fix for door in table.doors} <= set(table.remedies)
    assert len({door.path for door in table.doors}) == len(table.doors)
    known = advisories().advisories
    assert {one.product for one in known} == {"vllm", "sglang", "llama.cpp"}
    assert len({one.id for one in known}) == len(known)
    assert all(one.source.startswith("https://") for one in known)
    # What has a release that mends it can be told by its version.
    assert all(bool(one.affected) == (one.fixed_in is not None) for one in known)


def test_an_advisory_compares_versions_and_not_texts() -> None:
    one = Advisory(product="vllm", id="x", what="", source="", affected="<0.11.1", fixed_in="0.11.1")
    assert [one.affects(version) for version in ("0.9.2", "0.11.1", "0.32.0", None)] == [True, False, False, None]


def test_the_command_says_what_to_do_and_tells_by_its_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "check.json"
    with served(vllm("0.31.2", key=True)) as port:
        url = f"http://127.0.0.1:{port}"
        monkeypatch.setenv("ENGINE", KEY)
        assert run(["gateway", "check", url, "--server-key-env", "ENGINE", "--json", str(written)]) == 1
        shown = capsys.readouterr().out
        assert "OPEN to anybody: /invocations (status 422)" in shown
        assert "do: let nobody but the gateway reach this server" in shown
        assert "FAULT: CVE-2026-115918" in shown
        assert "upgrade to 0.32.0 or later" in shown
        assert KEY not in shown
        assert json.loads(written.read_text())["version"] == "0.31.2"
        monkeypatch.delenv("ENGINE")
        assert run(["gateway", "check", url, "--api-key-env", "ENGINE"]) == 2
    with served(Engine({})) as port:
        assert run(["gateway", "check", f"http://127.0.0.1:{port}"]) == 0
    assert "is open" in capsys.readouterr().out
