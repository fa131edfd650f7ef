"""fal's own clients, unmodified, against the sandbox: Python over https, JavaScript through `proxyUrl`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.generations.sandbox.conftest import Caller
from tests.sandbox_server import ROOT, running_sandbox
from tests.self_signed import certificate

CLIENTS = Path(__file__).parent / "clients"
JS_CLIENT = "@fal-ai/client@1.10.1"
NODE_MODULES = ROOT / "var" / "node" / "fal-client-1.10.1"


def seen_by(command: list[str], **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "picture.png"
    Image.new("RGB", (400, 400), "orange").save(path)
    return str(path)


def test_the_python_client_works_unmodified(tmp_path: Path, picture: str) -> None:
    cert, key = certificate(tmp_path)
    with running_sandbox(tmp_path, tls_cert=cert, tls_key=key, job_seconds=0.3) as sandbox:
        host = sandbox.base_url.removeprefix("https://")
        environment = {
            "FAL_QUEUE_RUN_HOST": f"{host}/queue",
            "FAL_KEY": "test:key",
            "SSL_CERT_FILE": str(cert),
        }
        command = [sys.executable, str(CLIENTS / "python_client.py"), sandbox.base_url, picture]
        seen = seen_by(command, **environment)
        jobs, counts = sandbox.jobs(), sandbox.control()["counts"]
    assert seen["upload"].startswith(f"{sandbox.cdn_url}/files/")
    assert list(dict.fromkeys(seen["queue_updates"])) == ["Queued", "InProgress", "Completed"]
    assert seen["subscribed"]["video"]["url"].startswith(f"{sandbox.cdn_url}/files/")
    assert (seen["first_status"], seen["last_status"], seen["by_id"]) == ("Queued", "Completed", True)
    assert (seen["cancelled"]["status"], seen["cancelled"]["error_type"]) == (499, "client_cancelled")
    assert seen["refused"]["status"] == 422
    assert seen["in_parts"].endswith("/big.bin")
    assert seen["async"]["video"]["url"]
    assert [job["status_code"] for job in jobs] == [200, 200, 499, 422, 200]
    assert counts["submit"] == 5


def javascript_modules() -> Path:
    """Where the JavaScript client lies, fetched once into `var/`; whole or not at all."""
    if not NODE_MODULES.exists():
        NODE_MODULES.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=NODE_MODULES.parent))
        command = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            str(fresh),
            JS_CLIENT,
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        try:
            fresh.rename(NODE_MODULES)
        except OSError:
            shutil.rmtree(fresh)
    return NODE_MODULES


@pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed"
)
def test_the_javascript_client_works_unmodified(caller: Caller, picture: str) -> None:
    script = str(CLIENTS / "javascript_client.mjs")
    seen = seen_by(["node", script, str(javascript_modules()), caller.sandbox.base_url, picture])
    assert seen["upload"].startswith(f"{caller.sandbox.cdn_url}/files/")
    assert seen["updates"][-1] == "COMPLETED"
    assert seen["subscribed"]["data"]["video"]["url"].startswith(f"{caller.sandbox.cdn_url}/files/")
    assert seen["subscribed"]["requestId"]
    assert seen["first"] == "IN_QUEUE"
    assert seen["streamed"][-1] == "COMPLETED"
    assert seen["result"]["data"]["video"]["content_type"] == "video/mp4"
    assert (seen["cancelled"]["status"], seen["locked"]["status"]) == (499, 403)
    assert seen["refused"]["name"] == "ValidationError"
    assert seen["refused"]["body"]["detail"][0]["type"] == "image_too_small"
