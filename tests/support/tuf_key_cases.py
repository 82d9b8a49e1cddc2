"""Cases of tests/e2e/tuf_conformance about keys, thresholds and signatures."""

import json

from tuf_case import case, cases, same, start, started
from tuf_repository import new_key


@cases(ed25519="ed25519", ecdsa="ecdsa-sha2-nistp256", rsa="rsassa-pss-sha256")
def kinds_of_keys(client, repo, scheme):
    start(client, repo)
    key = repo.add_key("root", scheme)
    repo.root["roles"]["root"]["threshold"] = 2
    repo.publish("root")
    same(client.refresh(), 0)
    same(client.version("root"), 2)
    repo.publish("root")
    wrong = json.loads(repo.files["root"][2])["signatures"]  # right for another content

    def change(file):
        file["signatures"] = [one for one in file["signatures"] if one["keyid"] != key["keyid"]]
        file["signatures"] += [one for one in wrong if one["keyid"] == key["keyid"]]
    repo.forge("root", change)
    same(client.refresh(), 1)
    same(client.version("root"), 2)


@case
def the_other_spelling_of_ecdsa(client, repo):
    start(client, repo)
    key = repo.add_key("root", "ecdsa-sha2-nistp256")
    repo.root["keys"][key["keyid"]]["keytype"] = "ecdsa-sha2-nistp256"
    repo.root["roles"]["root"]["threshold"] = 2
    repo.publish("root")
    same(client.refresh(), 0)


@case
def an_unknown_kind_of_key_does_no_harm(client, repo):
    start(client, repo)
    repo.root["keys"]["aa"] = {"keytype": "new", "scheme": "newer", "keyval": {"public": "x"}}
    repo.root["roles"]["timestamp"]["keyids"].append("aa")
    repo.publish("root")
    same(client.refresh(), 0)
    repo.root["roles"]["timestamp"]["threshold"] = 2
    repo.publish("root", "timestamp")
    same(client.refresh(), 1)
    same((client.version("root"), client.version("timestamp")), (3, 1))


@case
def threshold_of_the_snapshot(client, repo):
    for _ in range(2):
        repo.add_key("snapshot")
    repo.root["roles"]["snapshot"]["threshold"] = 3
    repo.publish("root", "targets", "snapshot", "timestamp")
    started(client, repo)
    repo.signers["snapshot"].pop()
    repo.publish_all()
    same(client.refresh(), 1)
    same(client.version("snapshot"), 2)


@case
def threshold_above_the_number_of_keys(client, repo):
    start(client, repo)
    for _ in range(4):
        repo.add_key("snapshot")
    repo.root["roles"]["snapshot"]["threshold"] = 6
    repo.publish("root", "snapshot", "timestamp")
    same(client.refresh(), 1)
    same((client.version("root"), client.version("snapshot")), (2, None))


@case
def one_key_named_often(client, repo):
    start(client, repo)
    repo.root["roles"]["snapshot"]["keyids"] *= 9
    repo.root["roles"]["snapshot"]["threshold"] = 6
    repo.publish("root", "snapshot", "timestamp")
    same(client.refresh(), 1)
    same(client.version("snapshot"), None)


@case
def one_key_under_many_ids(client, repo):
    start(client, repo)
    key = repo.signers["snapshot"][0]
    ids = [f"{number:064x}" for number in range(6)]
    for key_id in ids:
        repo.root["keys"][key_id] = repo.root["keys"][key["keyid"]]
    repo.root["roles"]["snapshot"] = {"keyids": ids, "threshold": 6}
    repo.publish("root", "snapshot", "timestamp")
    repo.forge("snapshot", lambda file: file.update(
        signatures=[{**file["signatures"][0], "keyid": key_id} for key_id in ids]))
    same(client.refresh(), 1)
    same(client.version("snapshot"), None)


@case
def two_signatures_under_one_id(client, repo):
    start(client, repo)
    repo.forge("snapshot", lambda file: file["signatures"].append(file["signatures"][0]))
    same(client.refresh(), 1)
    same(client.version("snapshot"), None)


@cases(plausible="00" * 64, empty="", not_hex="zz")
def a_wrong_signature_beside_a_right_one(client, repo, wrong):
    start(client, repo)
    repo.add_key("timestamp")
    repo.publish("root", "timestamp")
    repo.forge("timestamp", lambda file: file["signatures"][0].update(sig=wrong))
    same(client.refresh(), 0)


# Keys of a role, threshold, who signs; the last one with whether it is taken.
ROOT_CHAINS = {
    "one_key": [([1], 1, [1]), ([2], 1, [2, 1]), ([2], 1, [2]), True],
    "unused_signatures": [([1], 1, [3, 1, 4]), ([2], 1, [3, 2, 1, 4]), ([2], 1, [3, 2, 4]), True],
    "three_of_five": [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 2, 3, 4], 3, [0, 4, 1]), True],
    "one_of_five_changes": [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 4, 1]), True],
    "all_change": [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([5, 6, 7, 8, 9], 3, [0, 2, 4, 5, 6, 7]),
                   ([5, 6, 7, 8, 9], 3, [5, 6, 7]), True],
    "threshold_up": [([1, 2, 3], 1, [1]), ([1, 2, 3], 2, [1, 2]), True],
    "threshold_down": [([1, 2, 3], 2, [1, 2]), ([1, 2, 3], 1, [1, 2]), ([1, 2, 3], 1, [1]), True],
    "not_by_the_old_key": [([1], 1, [1]), ([2], 1, [2, 3, 4]), False],
    "not_by_the_new_key": [([1], 1, [1]), ([2], 1, [1, 3, 4]), False],
    "not_by_three_new": [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 2, 4]), False],
    "not_by_three_old": [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 4, 5]), False],
    "new_threshold_not_met": [([1, 2, 3], 1, [1]), ([1, 2, 3], 2, [2]), False],
    "old_threshold_not_met": [([1, 2, 3], 2, [1, 2]), ([1, 2, 3], 1, [1]), False],
}


@cases(**ROOT_CHAINS)
def root_rotation(client, repo, chain):
    pool = [new_key() for _ in range(10)]
    *steps, is_taken = chain
    repo.files["root"].clear()
    repo.root["version"] = 0
    for role_keys, threshold, signers in steps:
        repo.set_keys("root", [pool[i] for i in role_keys], threshold)
        repo.signers["root"] = [pool[i] for i in signers]
        repo.publish("root")
    start(client, repo)
    same(client.refresh(), 0 if is_taken else 1)
    same(client.bytes_of("root"), repo.files["root"][len(steps) if is_taken else len(steps) - 1])


ONLINE_KEYS = {
    "rotated": ([2], 1, [2], True), "unused": ([1], 1, [3, 1, 4], True),
    "by_an_old_key": ([2], 1, [1, 3, 4], False),
    "by_a_removed_key": ([0, 1, 3, 4, 5], 3, [0, 2, 4], False),
    "below_threshold": ([0, 1, 3, 4, 5], 3, [0, 4], False),
    "three_of_five": ([0, 1, 2, 3, 4], 3, [2, 3, 4], True),
}


@cases(**ONLINE_KEYS)
def keys_of_online_roles(client, repo, variant):
    role_keys, threshold, signers, is_taken = variant
    pool = [new_key() for _ in range(6)]
    start(client, repo)
    for role in ("timestamp", "snapshot", "targets"):
        repo.set_keys(role, [pool[i] for i in role_keys], threshold)
        repo.signers[role] = [pool[i] for i in signers]
        repo.publish("root")
        repo.publish_all()
        same(client.refresh(), 0 if is_taken else 1)
        if is_taken:
            same(client.bytes_of(role), repo.newest(role))
