"""The recipes for what stands in front of the gateway: read, checked against each other, and nginx run for real."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from support.gateway_parts import (
    ASKED,
    DONE,
    MODEL,
    TENANT_KEY,
    Scripted,
    begin,
    configuration,
    end,
    event,
    friendly,
    gateway,
    more,
    served,
    usage_event,
    wait_until,
)
from support.served_release import secret_of
from watchword.cli.app import app as cli
from watchword.gateway.configuration import Configuration, UpstreamSettings, read_configuration
from watchword.gateway.routes import ROUTES

RECIPES = Path(__file__).parents[2] / "recipes" / "gateway"
# Debian keeps it where only root looks.
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx-light)")
# Long enough for its beginning to go out at once, whatever the filter holds back of its end.
WORD = event({"content": "Mix flour with water and salt. "})


POSTED = {path for path, route in ROUTES.items() if route.method == "POST"}


def documents() -> dict[tuple[str, str], Any]:
    """The objects of the Kubernetes recipe by kind and name."""
    found = list(yaml.safe_load_all((RECIPES / "kubernetes.yaml").read_text("utf-8")))
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def configured(folder: Path) -> Configuration:
    (folder / "gateway.toml").write_text(documents()["ConfigMap", "gateway"]["data"]["gateway.toml"])
    return read_configuration(folder / "gateway.toml")


def silence() -> float:
    """How long the gateway waits for a silent engine, unless it is told otherwise."""
    return UpstreamSettings(name="up", url="http://up", kind="vllm").read_seconds


def test_on_kubernetes_only_the_gateway_reaches_the_engine(tmp_path: Path) -> None:
    found = documents()
    settings = configured(tmp_path)
    assert settings.upstreams[0].url == "http://engine:8000/v1"
    assert found["Service", "engine"]["spec"]["ports"][0]["port"] == 8000
    engine = found["Service", "engine"]["spec"]["selector"]
    pods = found["Deployment", "gateway"]["spec"]["template"]["metadata"]["labels"]
    policy = found["NetworkPolicy", "engine-from-gateway-only"]["spec"]
    assert policy["podSelector"]["matchLabels"] == engine != pods
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["ingress"] == [
        {"from": [{"podSelector": {"matchLabels": pods}}], "ports": [{"protocol": "TCP", "port": 8000}]}
    ]
    assert policy["egress"] == []
    assert found["Service", "gateway"]["spec"]["selector"] == pods
    assert found["NetworkPolicy", "gateway-from-ingress-only"]["spec"]["podSelector"]["matchLabels"] == pods
    assert found["Deployment", "gateway"]["spec"]["selector"]["matchLabels"] == pods


def test_on_kubernetes_the_gateway_starts_as_its_command_says(tmp_path: Path) -> None:
    found = documents()
    pod = found["Deployment", "gateway"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    flags = [argument for argument in container["args"] if argument.startswith("--")]
    shown = CliRunner().invoke(cli, ["gateway", "run", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    assert container["args"][0] == "run"
    assert flags
    assert all(flag in shown for flag in flags)
    given = dict(zip(container["args"][1::2], container["args"][2::2], strict=True))
    assert pod["terminationGracePeriodSeconds"] > int(given["--drain-seconds"])
    assert (
        container["ports"][0]["containerPort"]
        == int(given["--port"])
        == found["Service", "gateway"]["spec"]["ports"][0]["port"]
    )
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    assert given["--config"] == f"{mounts['config']}/gateway.toml"
    assert configured(tmp_path).models[0].release.startswith(mounts["releases"])
    assert container["readinessProbe"]["httpGet"]["path"] == "/health"
    assert "httpGet" not in container["livenessProbe"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    keys = {one["name"]: one for one in container["env"]}
    assert keys["WATCHWORD_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "watchword-key"
    assert "value" not in keys["WATCHWORD_KEY"]
    assert ("Secret", "watchword-key") not in found
    docker = (RECIPES / "Dockerfile").read_text("utf-8")
    assert f"USER {pod['securityContext']['runAsUser']}" in docker


def test_with_envoy_only_the_gateways_routes_are_open_and_streams_take_their_time() -> None:
    found = yaml.safe_load((RECIPES / "envoy.yaml").read_text("utf-8"))["static_resources"]
    (listener,), (cluster,) = found["listeners"], found["clusters"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (host,) = manager["route_config"]["virtual_hosts"]
    *opened, last = host["routes"]
    assert {route["route"]["cluster"] for route in opened} == {cluster["name"]}
    assert all(re.fullmatch(opened[0]["match"]["safe_regex"]["regex"], path) for path in POSTED)
    assert not re.fullmatch(opened[0]["match"]["safe_regex"]["regex"], "/v1/responses/resp_1")
    assert opened[0]["route"]["timeout"] == "0s"
    assert re.fullmatch(opened[1]["match"]["safe_regex"]["regex"], "/v1/models/ft-bakery")
    assert (last["match"], last["direct_response"]["status"]) == ({"prefix": "/"}, 404)
    assert json.loads(last["direct_response"]["body"]["inline_string"])["error"]["code"] == "unknown_url"
    assert "retry_policy" not in str(found)
    assert not manager["generate_request_id"]
    assert [filter_["name"] for filter_ in manager["http_filters"]] == ["envoy.filters.http.router"]
    assert cluster["health_checks"][0]["http_health_check"]["path"] == "/health"
    assert float(manager["stream_idle_timeout"].removesuffix("s")) > silence()


def certificate(folder: Path) -> None:
    """A key and a certificate for localhost, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoded = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (folder / "tls.key").write_bytes(key.private_bytes(encoded, serialization.PrivateFormat.PKCS8, plain))
    (folder / "tls.crt").write_bytes(made.public_bytes(encoded))


def localised(folder: Path, port: int, behind: int) -> Path:
    """The recipe with names of this machine, and nothing else changed."""
    text = (RECIPES / "nginx.conf").read_text("utf-8")
    for old, new in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/nginx/tls/": f"{folder}/",
        "server 127.0.0.1:8080": f"server 127.0.0.1:{behind}",
        "pid nginx.pid": f"pid {folder}/nginx.pid",
        "worker_processes auto;": "worker_processes 1;\ndaemon off;" + ("\nuser root;" if os.geteuid() == 0 else ""),
        "    access_log off;": "    access_log off;\n"
        + "".join(
            f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ),
    }.items():
        assert old in text
        text = text.replace(old, new)
    file = folder / "nginx.conf"
    file.write_text(text)
    return file


@contextlib.contextmanager
def nginx(folder: Path, behind: int) -> Iterator[int]:
    """nginx by the recipe in front of a gateway; gives its port."""
    assert NGINX is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    certificate(folder)
    command = [NGINX, "-p", str(folder), "-c", str(localised(folder, port, behind))]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    assert "warn" not in tested.stderr
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port))
        yield port
    finally:
        process.terminate()
        process.wait(10)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def connected(folder: Path, port: int) -> http.client.HTTPSConnection:
    """A connection that trusts the certificate of the test and no other."""
    trusted = ssl.create_default_context(cafile=str(folder / "tls.crt"))
    return http.client.HTTPSConnection("localhost", port, timeout=30, context=trusted)


def asked(folder: Path, port: int, path: str, body: Any = None, key: str = TENANT_KEY) -> tuple[int, Any]:
    with contextlib.closing(connected(folder, port)) as connection:
        data = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, data, {"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_whoever_stands_in_front_waits_longer_than_the_gateway() -> None:
    text = (RECIPES / "nginx.conf").read_text("utf-8")
    annotations = documents()["Ingress", "gateway"]["metadata"]["annotations"]
    waits = [
        *re.findall(r"proxy_read_timeout (\d+)s", text),
        annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"],
    ]
    assert len(waits) == 2
    assert all(float(wait) > silence() for wait in waits)


def test_every_route_of_the_gateways_is_open_in_front_of_it_and_no_other() -> None:
    (pattern,) = re.findall(r"location ~ (\^/v1/\(chat.*) \{", (RECIPES / "nginx.conf").read_text("utf-8"))
    assert all(re.search(pattern, path) for path in POSTED)
    paths = documents()["Ingress", "gateway"]["spec"]["rules"][0]["http"]["paths"]
    assert {path["path"] for path in paths if path["pathType"] == "Exact"} == POSTED
    assert [path["path"] for path in paths if path["pathType"] != "Exact"] == ["/v1/models"]


@needs_nginx
def test_through_nginx_tenants_reach_the_gateways_routes_and_nothing_else(release: Path, tmp_path: Path) -> None:
    upstream = Scripted(friendly)
    with served(upstream) as behind, gateway(configuration(release, behind)) as at, nginx(tmp_path, at) as port:
        status, reply = asked(tmp_path, port, "/v1/chat/completions", ASKED)
        assert (status, reply["choices"][0]["message"]["content"]) == (200, "Mix flour, water and salt.")
        assert asked(tmp_path, port, "/v1/chat/completions", ASKED, "wk-wrong")[0] == 401
        assert asked(tmp_path, port, "/v1/models")[1]["data"][0]["id"] == MODEL
        assert asked(tmp_path, port, f"/v1/models/{MODEL}")[1]["id"] == MODEL
        for path in ("/health", "/v1/responses/resp_1", "/tokenize", "/v1/chat/completions/", "/v1/models/a/b", "/"):
            status, reply = asked(tmp_path, port, path, ASKED)
            assert (status, reply["error"]["code"]) == (404, "unknown_url"), path
    assert upstream.bodies[0]["messages"][0]["content"].startswith(secret_of().reveal())


@needs_nginx
def test_through_nginx_a_stream_comes_as_it_is_said_and_ends_with_the_client(release: Path, tmp_path: Path) -> None:
    free = threading.Event()

    async def slow(_: Scripted, body: dict[str, Any], send: Any) -> None:
        await begin(send)
        await more(send, WORD)
        while not free.is_set():
            await asyncio.sleep(0.01)
        await more(send, event({}, finish="stop") + usage_event() + DONE)
        await end(send)

    upstream = Scripted(slow)
    with served(upstream) as behind, gateway(configuration(release, behind)) as at, nginx(tmp_path, at) as port:
        for goes_away in (False, True):
            with contextlib.closing(connected(tmp_path, port)) as connection:
                headers = {"Authorization": f"Bearer {TENANT_KEY}"}
                connection.request("POST", "/v1/chat/completions", json.dumps({**ASKED, "stream": True}), headers)
                response = connection.getresponse()
                data = b""
                while b"Mix" not in data:
                    data += response.read1()
                if not goes_away:
                    free.set()
                    assert (data + response.read()).endswith(DONE)
                    free.clear()
            if goes_away:
                response.close()
                assert wait_until(lambda: upstream.open == 0) < 1
