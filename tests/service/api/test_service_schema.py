"""The API against its own description: whatever Schemathesis thinks of is answered as described, and never by a 500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from support.served_release import KEY
from support.service_parts import ServiceUnderTest, running_service
from watchword.service.settings import TenantLimits

pytestmark = [pytest.mark.integration, pytest.mark.peers("schemathesis")]
EXAMPLES = 8
# What is described is what comes; a request that is none is refused; another key, or none, opens nothing.
AS_DESCRIBED = (
    "not_a_server_error",
    "content_type_conformance",
    "response_schema_conformance",
    "status_code_conformance",
    "ignored_auth",
    "unsupported_method",
    "use_after_free",
)
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceUnderTest]:
    limits = TenantLimits(requests_per_minute=1_000_000, files=100_000, jobs_waiting=100_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WATCHWORD_KEY", KEY.hex())
        with running_service(tmp_path_factory.mktemp("schema"), limits=limits) as found:
            yield found


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_every_route_answers_as_it_is_described(described: ServiceUnderTest, mode: str) -> None:
    import schemathesis
    import schemathesis.specs.openapi.checks
    from schemathesis.checks import CHECKS

    checks = CHECKS.get_by_names(list(AS_DESCRIBED))
    schema: Any = schemathesis.openapi.from_url(f"{described.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 40
    for operation in operations:
        if mode == "NEGATIVE" and operation.path in ("/healthz", "/readyz"):
            continue  # nothing that is sent there can be wrong
        key = described.operator_key if operation.path.startswith(("/operator", "/metrics")) else described.key

        def answers(case: Any) -> None:
            case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=checks)  # noqa: B023

        SETTINGS(given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode]))(answers))()
