"""Bellhop for the tests of its users: the whole server in the test's own process, with providers that only remember.

    with FakeBellhop() as bellhop:
        with bellhop.sync_client() as client:
            greet(client, "anna")
        assert [each.notification.title for each in bellhop.sent("anna")] == ["Hello"]

For pytest there are fixtures: `pytest_plugins = ["bellhop_testing.fixtures"]`. docs/testing.md tells more.
"""

from bellhop_testing.fake import FakeBellhop, Sent

__all__ = ["FakeBellhop", "Sent"]
