"""Cases of tests/e2e/tuf_conformance about the order of an update, expiry, going back and artifacts."""

import json
import os
import subprocess
import urllib.parse

from tuf_case import case, cases, same, start, started
from tuf_repository import Server, new_key, utc


# --- the workflow ---

@case
def init_and_refresh(client, repo):
    start(client, repo)
    same(repo.requests, [])
    same(client.refresh(), 0)
    same(repo.requests, ["2.root", "timestamp", "1.snapshot", "1.targets"])
    same(client.trusted(), {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1})
    for role in ("root", "timestamp", "snapshot", "targets"):
        same(client.bytes_of(role), repo.newest(role))


@case
def download_refreshes_first(client, repo):
    start(client, repo)
    same(client.download("nonexistent artifact"), 1)
    same(repo.requests, ["2.root", "timestamp", "1.snapshot", "1.targets"])
    same(len(client.trusted()), 4)


@cases(without_version=lambda root: root["signed"].pop("version"),
       wrong_signature=lambda root: root["signatures"][0].update(sig="00" * 64),
       no_signature=lambda root: root["signatures"].clear())
def bad_initial_root(client, repo, change):
    root = json.loads(repo.files["root"][1])
    change(root)
    client.init(json.dumps(root).encode())
    same(client.refresh(), 1)
    same(repo.requests, [])


@cases(root=("root", {"root": 1}), timestamp=("timestamp", {"root": 1}),
       snapshot=("snapshot", {"root": 1, "timestamp": 1}),
       targets=("targets", {"root": 1, "timestamp": 1, "snapshot": 1}))
def unsigned_metadata(client, repo, variant):
    role, trusted = variant
    if role == "root":
        repo.publish("root")
    repo.forge(role, lambda file: file["signatures"].clear())
    start(client, repo)
    same(client.refresh(), 1)
    same(client.trusted(), trusted)


@case
def timestamp_of_the_same_version_is_not_taken(client, repo):
    started(client, repo)
    kept = client.bytes_of("timestamp")
    repo.signed["timestamp"]["meta"]["snapshot.json"]["version"] = 100
    repo.publish("timestamp", version=1)
    same(client.refresh(), 0)
    same(repo.requests[-1], "timestamp")
    same(client.bytes_of("timestamp"), kept)


@case
def targets_not_in_the_snapshot_are_not_asked_for(client, repo):
    started(client, repo)
    repo.publish("targets")
    same(client.refresh(), 0)
    same((client.version("targets"), repo.requests[-1]), (1, "timestamp"))


@case
def hashes_of_metadata(client, repo):
    repo.with_hashes = True
    repo.publish_all()
    started(client, repo)
    repo.publish("targets")
    repo.signed["snapshot"]["meta"]["targets.json"]["hashes"]["sha256"] = "0" * 64
    repo.publish("snapshot", "timestamp")
    same(client.refresh(), 1)
    same((client.version("snapshot"), client.version("targets")), (3, 2))


@case
def unknown_members_are_signed_too(client, repo):
    started(client, repo)
    repo.root["custom-field"] = "value\n\"\\é\U0001f600"
    repo.root["roles"]["root"]["another-field"] = [1, None, {"b": -1, "a": True}]
    repo.root["keys"][repo.root["roles"]["root"]["keyids"][0]]["extra-field"] = {"a": 1, "b": 2}
    repo.publish("root")
    same(client.refresh(), 0)
    same((client.version("root"), client.bytes_of("root")), (2, repo.newest("root")))


# --- expiry ---

@case
def expired_root(client, repo):
    started(client, repo)
    repo.root["expires"] = utc(-1)
    repo.publish("root")
    repo.publish_all()
    same(client.refresh(), 1)
    same(client.trusted(), {"root": 2, "timestamp": 1, "snapshot": 1, "targets": 1})


@cases(timestamp="timestamp", snapshot="snapshot", targets="targets")
def expired(client, repo, role):
    started(client, repo)
    repo.signed[role]["expires"] = utc(-5)
    repo.publish_all()
    same(client.refresh(), 1)
    same(client.version(role), 1)


@case
def expired_local_metadata_still_leads_to_newer(client, repo):
    repo.signed["timestamp"]["expires"] = utc(7)
    repo.publish("timestamp")
    started(client, repo)
    same(client.refresh(day=18), 1)
    repo.signed["timestamp"]["expires"] = utc(21)
    repo.publish_all()
    same(client.refresh(day=18), 0)
    same(client.trusted(), {"root": 1, "timestamp": 3, "snapshot": 2, "targets": 2})


@case
def expired_delegated_role(client, repo):
    repo.delegate("targets", "role", ["dir/*"], expires=utc(7))
    repo.add_artifact("role", "dir/first", b"first")
    repo.add_artifact("role", "dir/second", b"second")
    repo.publish_all()
    start(client, repo)
    same(client.download("dir/first"), 0)
    same(client.download("dir/second", day=18), 1)
    same(client.artifacts(), [b"first"])
    repo.signed["role"]["expires"] = utc(25)
    repo.publish_all()
    same(client.download("dir/second", day=18), 0)
    same(client.artifacts(), [b"first", b"second"])


# --- going back ---

@case
def timestamp_rollback(client, repo):
    repo.publish("timestamp")
    started(client, repo)
    repo.publish("timestamp", version=1)
    same(client.refresh(), 1)
    same((client.version("timestamp"), repo.requests[-1]), (2, "timestamp"))


@cases(basic=False, hashes=True)
def snapshot_rollback(client, repo, with_hashes):
    repo.with_hashes = with_hashes
    repo.publish("snapshot", "timestamp")
    started(client, repo)
    repo.publish("snapshot", version=1)
    repo.publish("timestamp")
    same(client.refresh(), 1)
    same(client.trusted(), {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 1})
    same(repo.requests[-1], "timestamp")


@cases(basic=False, hashes=True)
def targets_rollback(client, repo, with_hashes):
    repo.with_hashes = with_hashes
    repo.publish_all()
    started(client, repo)
    repo.publish("targets", version=1)
    repo.publish("snapshot", "timestamp")
    same(client.refresh(), 1)
    same((client.version("snapshot"), client.version("targets")), (2, 2))


@case
def snapshot_of_another_version(client, repo):
    start(client, repo)
    repo.publish("snapshot")
    repo.files["snapshot"][1] = repo.files["snapshot"][2]
    same(client.refresh(), 1)
    same(client.trusted(), {"root": 1, "timestamp": 1})
    same(repo.requests[-1], "1.snapshot")


@case
def a_role_disappears_from_the_snapshot(client, repo):
    repo.delegate("targets", "role")
    repo.publish_all()
    started(client, repo)
    del repo.signed["snapshot"]["meta"]["role.json"]
    repo.publish("snapshot", "timestamp")
    same(client.refresh(), 1)
    same(client.version("snapshot"), 2)


@cases(timestamp=["timestamp"], snapshot=["snapshot", "timestamp"], targets=["snapshot"])
def fast_forward_recovery(client, repo, rotated):
    role = {"timestamp": "timestamp", "snapshot": "snapshot"}.get(rotated[0], "targets")
    if rotated == ["snapshot"]:
        role = "targets"
        repo.delegate("targets", "role")
        repo.publish("role")
    repo.publish(role, version=100)
    repo.publish(*{"targets": ["snapshot", "timestamp"], "snapshot": ["timestamp"]}.get(role, []))
    started(client, repo)
    same(client.version(role), 100)
    for one in rotated:
        repo.set_keys(one, [new_key()])
    repo.signed["snapshot"]["meta"].pop("role.json", None)
    repo.signed[role]["version"] = 0
    repo.publish("root", "targets", "snapshot", "timestamp")
    same(client.refresh(), 0)
    same(client.version(role), 1)


# --- artifacts and delegations ---

@cases(plain="file.txt", directories="path/to/a/file.txt")
def artifact(client, repo, path):
    repo.add_artifact("targets", path, b"content")
    repo.publish_all()
    started(client, repo)
    same(client.artifacts(), [])
    same(client.download(path), 0)
    same(client.download(path), 0)
    same(client.artifacts(), [b"content"])
    same(len([one for one in repo.requests if one.startswith("targets/")]), 1)


@case
def several_artifacts_in_order(client, repo):
    for number in range(3):
        repo.add_artifact("targets", f"file{number}", b"content %d" % number)
    repo.publish_all()
    start(client, repo)
    same(client.download("file2", "file0", "nobody", "file1"), 1)
    same(client.artifacts(), [b"content 0", b"content 2"])
    asked = [one.split(".")[-1] for one in repo.requests if one.startswith("targets/")]
    same(asked, ["file2", "file0"])


@case
def substituted_artifact(client, repo):
    repo.add_artifact("targets", "one", b"content of one")
    repo.add_artifact("targets", "two", b"content of two")
    repo.publish_all()
    start(client, repo)
    same(client.download("one"), 0)
    repo.artifacts["one"] = repo.artifacts["two"] = b"malicious data"
    client.download("one")
    same(client.download("two"), 1)
    same(client.artifacts(), [b"content of one"])


@case
def changing_artifact(client, repo):
    start(client, repo)
    for number in range(6):
        content = b"content %d" % number
        repo.add_artifact("targets", "file", content)
        repo.publish_all()
        if number % 2:
            continue
        same(client.download("file"), 0)
        repo.artifacts["file"] = b"malicious"
        client.download("file")
        same(client.artifacts(), [content])


@cases(sha256=["sha256"], sha512=["sha512"], both=["sha256", "sha512"])
def digests(client, repo, algorithms):
    repo.add_artifact("targets", "file", b"content", algorithms)
    repo.publish_all()
    start(client, repo)
    same(client.download("file"), 0)
    same(client.artifacts(), [b"content"])


@case
def unknown_digest(client, repo):
    repo.add_artifact("targets", "file", b"content", ["sha512"])
    hashes = repo.signed["targets"]["targets"]["file"]["hashes"]
    hashes["unknown-hash"] = hashes.pop("sha512")
    repo.publish_all()
    start(client, repo)
    same(client.download("file"), 1)
    same(client.artifacts(), [])


GRAPHS = {
    "basic": ([("targets", "A")], ["A"]),
    "two_levels": ([("targets", "A"), ("targets", "B"), ("B", "C")], ["A", "B", "C"]),
    "depth_first": ([("targets", "A"), ("targets", "B"), ("A", "C"), ("C", "D")],
                    ["A", "C", "D", "B"]),
    "terminating": ([("targets", "A"), ("targets", "B"), ("A", "C", ["*"], True), ("A", "D")],
                    ["A", "C"]),
    "terminating_deep": ([("targets", "A"), ("targets", "B"), ("A", "C", ["*"], True), ("C", "D")],
                         ["A", "C", "D"]),
    "paths": ([("targets", "A", ["*.py"]), ("targets", "B"), ("A", "C")], ["B"]),
    "cycle": ([("targets", "A"), ("targets", "B"), ("B", "C"), ("C", "D"), ("D", "B")],
              ["A", "B", "C", "D"]),
    "two_ways": ([("targets", "A"), ("targets", "B"), ("A", "C", ["*.py"]), ("B", "C")],
                 ["A", "B", "C"]),
}


@cases(**GRAPHS)
def delegation_graph(client, repo, graph):
    edges, visited = graph
    start(client, repo)
    for edge in edges:
        repo.delegate(*edge)
    repo.publish_all()
    same(client.download("missingpath"), 1)
    same(repo.requests[4:], ["1." + role for role in visited])


TREE = {"targetfile": ("targets", []), "README.md": ("A", ["A"]),
        "releases/x/x_v1": ("C", ["B", "C"]), "releases/y/y_v1.zip": ("D", ["B", "D"]),
        "releases/z/z_v1.zip": ("D", ["B"])}


@cases(**{path.replace("/", "_"): path for path in TREE})
def delegation_tree(client, repo, path):
    repo.delegate("targets", "A", ["*.doc", "*.md"])
    repo.delegate("targets", "B", ["releases/*/*"])
    repo.delegate("B", "C", ["releases/x/*"])
    repo.delegate("B", "D", ["releases/y/*.zip"])
    for name, (role, _) in TREE.items():
        repo.add_artifact(role, name, name.encode())
    repo.publish_all()
    start(client, repo)
    role, visited = TREE[path]
    is_found = not visited or visited[-1] == role
    same(client.download(path), 0 if is_found else 1)
    same(client.artifacts(), [path.encode()] if is_found else [])
    asked = [one for one in repo.requests[4:] if not one.startswith("targets/")]
    same(asked, ["1." + one for one in visited])


@cases(question="?", hash="#", slash="/role", parent="../role", percent="%2e", space="a b")
def unusual_role_name(client, repo, role):
    repo.delegate("targets", role)
    repo.publish_all()
    start(client, repo)
    same(client.download("nonexistent"), 1)
    same(repo.requests[-1], "1." + urllib.parse.quote(role, ""))
    same(len(client.trusted()), 5)


@cases(consistent=True, plain=False)
def consistent_snapshot(client, repo, is_consistent):
    repo.root["consistent_snapshot"] = is_consistent
    repo.publish("root")
    repo.delegate("targets", "role")
    repo.add_artifact("role", "file", b"content")
    repo.publish_all()
    start(client, repo)
    same(client.download("file"), 0)
    plain = ["2.root", "3.root", "timestamp", "snapshot", "targets", "role", "targets/file"]
    same(repo.requests == plain, not is_consistent)
    same(client.artifacts(), [b"content"])


# --- what the suite does not have: a client that is killed, a server without a certificate ---

@case
def killed_at_any_moment(client, repo):
    started(client, repo)
    repo.add_artifact("targets", "file", os.urandom(200_000))
    for number in range(25):
        repo.publish("root")
        repo.publish_all()
        process = subprocess.Popen(
            [client.program, "--metadata-dir", client.metadata, "--metadata-url",
             client.url + "/metadata", "--target-name", "file", "--target-base-url",
             client.url + "/targets", "--target-dir", client.targets, "download"],
            stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=0.002 * number)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for role in client.trusted():
            json.loads(client.bytes_of(role))
    same(client.download("file"), 0)
    same(client.artifacts(), [repo.artifacts["file"]])
    same(client.trusted()["timestamp"], repo.signed["timestamp"]["version"])


@case
def a_server_with_a_certificate_of_its_own_making(client, repo):
    start(client, repo)
    pem = os.path.join(os.path.dirname(client.metadata), "server.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", pem, "-out", pem + ".crt"], check=True, capture_output=True)
    with open(pem, "a") as file, open(pem + ".crt") as certificate:
        file.write(certificate.read())
    client.url = Server(pem).add(repo)
    same(client.refresh(), 1)
    same(repo.requests, [])
    assert "certificate" in client.output
