"""Who sends and who calls in the worlds that are explored: small ones, each wholly."""

from dataclasses import dataclass

from tests.model.phones import Call, anonymous, login, logout, logout_everywhere, logout_of, moved


@dataclass(frozen=True)
class Sender:
    """A message to the user of one device. `early`: planned before anything else, else when it begins.

    `refusals`: how often the provider may say that it took nothing, which leads to another attempt. `confirms`: it may
    say that a request is there while its answer is still out. `loses`: it may give a request up without knowing.
    """

    device: str
    user: str
    early: bool = True
    refusals: int = 0
    confirms: bool = False
    loses: bool = False


@dataclass(frozen=True)
class Setting:
    """What is there at first, who sends, and who calls: each caller one call after the other.

    A caller may lose patience with any call but its last, and go on with the next at once; that the call is cancelled
    comes to the server later, or never.
    """

    bound: tuple[tuple[str, str, str], ...]
    senders: tuple[Sender, ...]
    callers: tuple[tuple[Call, ...], ...]


ANNA = ("d1", "anna", "aa")
BEN = ("d2", "ben", "bb")

TO_ANNA = Sender("d1", "anna")
TO_ANNA_LATER = Sender("d1", "anna", early=False)
TO_BEN = Sender("d1", "ben", early=False)
PATIENT = Sender("d1", "anna", refusals=1)
SLOW = Sender("d1", "anna", confirms=True)
LOSSY = Sender("d1", "anna", refusals=1, loses=True)

# By name: the setting, and how many states it has at least, so that an explorer that stops short is seen.
SETTINGS = {
    "two senders and a logout that is repeated": (
        Setting((ANNA,), (SLOW, TO_ANNA_LATER), ((logout("d1"), logout("d1")),)),
        1_000,
    ),
    "two senders that try again": (
        Setting((ANNA,), (PATIENT, PATIENT), ((logout("d1"), logout("d1")),)),
        4_000,
    ),
    "two logouts": (
        Setting((ANNA,), (TO_ANNA,), ((logout("d1"), logout("d1")), (logout_everywhere("anna"),))),
        600,
    ),
    "logouts of a user, repeated": (
        Setting((ANNA,), (TO_ANNA,), ((logout_everywhere("anna"), logout_everywhere("anna")), (logout("d1"),))),
        600,
    ),
    "two senders and two logouts": (
        Setting((ANNA,), (TO_ANNA, TO_ANNA_LATER), ((logout("d1"),), (logout_everywhere("anna"),))),
        1_000,
    ),
    "another device takes the token, and leaves twice": (
        Setting((ANNA,), (TO_ANNA,), ((login("d2", "ben", "aa"), logout("d2"), logout("d2")),)),
        400,
    ),
    "another device takes the token, and its user leaves twice": (
        Setting((ANNA,), (TO_ANNA,), ((login("d2", "ben", "aa"), logout_everywhere("ben"), logout_everywhere("ben")),)),
        400,
    ),
    "another device takes the token, and moves on twice": (
        Setting((ANNA,), (TO_ANNA,), ((login("d2", "ben", "aa"), moved("d2", "bb"), moved("d2", "bb")),)),
        400,
    ),
    "another device takes the token, and logs in again without it": (
        Setting((ANNA,), (PATIENT,), ((login("d2", "ben", "aa"), login("d2", "ben")),)),
        200,
    ),
    "another device takes the token while the first logs out": (
        Setting((ANNA,), (LOSSY,), ((login("d2", "ben", "aa"), login("d2", "ben", "aa")), (logout("d1"),))),
        1_000,
    ),
    "one user after the other on one device": (
        Setting((ANNA,), (TO_ANNA, TO_BEN), ((login("d1", "ben"), login("d1", "cora")),)),
        1_000,
    ),
    "a takeover by device and one by token": (
        Setting((ANNA,), (TO_ANNA,), ((login("d1", "ben", "aa"),), (login("d2", "cora", "aa"), logout("d2")))),
        400,
    ),
    "a logout that nobody waited for, then another device with the token": (
        Setting((ANNA,), (PATIENT,), ((logout("d1"), login("d2", "ben", "aa")),)),
        200,
    ),
    "another token, then a logout": (
        Setting((ANNA,), (PATIENT,), ((moved("d1", "bb"), logout("d1")),)),
        400,
    ),
    "another token, which a third device takes": (
        Setting((ANNA,), (TO_ANNA,), ((moved("d1", "bb"),), (login("d3", "cora", "bb"), logout("d3")))),
        800,
    ),
    "another token, a logout, then another device with that token": (
        Setting((ANNA,), (TO_ANNA,), ((moved("d1", "bb"), logout("d1"), login("d2", "ben", "bb")),)),
        400,
    ),
    "a token that somebody else has": (
        Setting((ANNA, BEN), (TO_ANNA, Sender("d2", "ben")), ((moved("d1", "bb"), logout("d1")),)),
        2_000,
    ),
    "a device that goes and comes back": (
        Setting((ANNA,), (PATIENT,), ((logout("d1"), login("d1", "anna", "aa"), logout("d1")),)),
        1_000,
    ),
    "anonymous from now on": (
        Setting((ANNA,), (TO_ANNA, TO_ANNA_LATER), ((anonymous("d1"), anonymous("d1")),)),
        1_000,
    ),
    "a logout that expects somebody else": (
        Setting((ANNA,), (TO_ANNA, TO_BEN), ((login("d1", "ben"), logout_of("d1", "anna")),)),
        1_000,
    ),
}
