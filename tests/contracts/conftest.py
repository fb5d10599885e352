"""One site for all tests of the contracts; each test sells what it needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts.site import Caller, Site, running_site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker, the centre and a box that run."""
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def centre(site: Site) -> Caller:
    """A client of the centre."""
    return site.centre


@pytest.fixture
def box(site: Site) -> Caller:
    """A client of the box."""
    return site.box.caller
