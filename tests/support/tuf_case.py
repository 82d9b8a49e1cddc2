"""How the cases of tests/e2e/tuf_conformance are written down: each is given a client that trusts nothing
yet and a repository with one release, and fails by an exception.
"""

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def cases(**variants):
    def register(function):
        for name, value in variants.items():
            CASES[f"{function.__name__}[{name}]"] = (
                lambda client, repo, chosen=value: function(client, repo, chosen))
        return function
    return register


def same(got, wanted):
    assert got == wanted, f"wanted {wanted}, got {got}"


def start(client, repo):
    same(client.init(repo.files["root"][1]), 0)


def started(client, repo):
    start(client, repo)
    same(client.refresh(), 0)
