"""Push providers on this machine, for the tests of whoever sends pushes.

`ApnsSimulator` speaks Apple's provider API over TLS and HTTP/2, refuses what Apple refuses, plays scripted faults and
keeps a journal of what it saw. `FcmSimulator` does the same for Google's, over HTTP/1.1 too, and `WebPushSimulator` for
the push services of browsers. `Simulation` starts all simulators at once, as `bellhop simulate` does. The package uses
nothing else of Bellhop.

Inside, `http1` and `http2` move requests and answers, `faults` spoils them and `serving` brings it all together,
whoever the provider is; `apns`, `fcm` and `webpush` know what theirs says.
"""

from bellhop_simulators.apns.concurrency import ConcurrencyPolicy
from bellhop_simulators.apns.keys import ApnsKey
from bellhop_simulators.apns.simulator import ApnsSimulator
from bellhop_simulators.clock import Clock, ManualClock, SystemClock
from bellhop_simulators.faults.keys import FaultScriptError
from bellhop_simulators.faults.script import Fault, Faults
from bellhop_simulators.fcm.devices import FcmMessage
from bellhop_simulators.fcm.service_accounts import ServiceAccount
from bellhop_simulators.fcm.simulator import FcmSimulator
from bellhop_simulators.journal import Entry, Journal
from bellhop_simulators.simulation import Simulation, SimulationOptions, run, simulate
from bellhop_simulators.webpush.browser import BrowserMessage, BrowserSubscription
from bellhop_simulators.webpush.simulator import WebPushSimulator
from bellhop_simulators.webpush.vapid_key import VapidKey

__all__ = [
    "ApnsKey",
    "ApnsSimulator",
    "BrowserMessage",
    "BrowserSubscription",
    "Clock",
    "ConcurrencyPolicy",
    "Entry",
    "Fault",
    "FaultScriptError",
    "Faults",
    "FcmMessage",
    "FcmSimulator",
    "Journal",
    "ManualClock",
    "ServiceAccount",
    "Simulation",
    "SimulationOptions",
    "SystemClock",
    "VapidKey",
    "WebPushSimulator",
    "run",
    "simulate",
]
