"""What the tests of monitoring share."""

import pytest

from skatra.monitoring._recorder import Recorder
from skatra.monitoring._store import Store
from skatra.utils import observation


@pytest.fixture
def recorder():
    """Listen with a store of its own for one test."""
    found = Recorder(Store())
    found.store.announce()
    before = observation.set_observer(found)
    yield found
    observation.set_observer(before)
