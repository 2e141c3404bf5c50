"""Servers are started once in a run, for all tests that share them."""

import os

import pytest

pytestmark = pytest.mark.e2e


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there is one process anyway")
def test_those_that_share_a_server_run_in_one_process(embedded, request):
    assert request.node.nodeid.endswith("@embedded")
