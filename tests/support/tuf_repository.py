"""An update repository in memory, served over HTTP on this machine, whose files a test may forge.

It stands apart from our own writer (src/trust/tuf/writer.h) on purpose: keys, signatures and canonical
JSON are those of securesystemslib, the reference implementation's library, so that a mistake of ours
cannot be made twice and so go unseen.
"""

import datetime
import hashlib
import http.server
import json
import os
import ssl
import subprocess
import threading
import urllib.parse

from securesystemslib import formats, keys

ONLINE = ("targets", "snapshot", "timestamp")
TOP = ("root",) + ONLINE
MAKERS = {
    "ed25519": keys.generate_ed25519_key,
    "ecdsa-sha2-nistp256": keys.generate_ecdsa_key,
    "rsassa-pss-sha256": lambda: keys.generate_rsa_key(bits=2048),
}


def utc(days=30):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def new_key(scheme="ed25519"):
    return MAKERS[scheme]()


def public_part(key):
    return {"keytype": key["keytype"], "scheme": key["scheme"],
            "keyval": {"public": key["keyval"]["public"]}}


def role_of(role_keys, threshold=1):
    return {"keyids": [key["keyid"] for key in role_keys], "threshold": threshold}


class Repository:
    """`signed` is what the next publish() signs with `signers`; `files` is what is served."""

    def __init__(self):
        common = {"spec_version": "1.0.33", "version": 0, "expires": utc()}
        self.signed = {
            "root": {"_type": "root", **common, "consistent_snapshot": True, "keys": {}, "roles": {}},
            "targets": {"_type": "targets", **common, "targets": {}},
            "snapshot": {"_type": "snapshot", **common, "meta": {}},
            "timestamp": {"_type": "timestamp", **common, "meta": {}},
        }
        self.signers = {}
        self.files = {}  # role -> {version: bytes}; the last one put there is the newest
        self.artifacts = {}  # path -> bytes
        self.requests = []
        self.with_hashes = False
        for role in TOP:
            self.set_keys(role, [new_key()])
        self.publish("targets", "snapshot", "timestamp", "root")
        self.requests.clear()

    @property
    def root(self):
        return self.signed["root"]

    def set_keys(self, role, role_keys, threshold=1):
        self.signers[role] = list(role_keys)
        self.root["roles"][role] = role_of(role_keys, threshold)
        for key in role_keys:
            self.root["keys"][key["keyid"]] = public_part(key)

    def add_key(self, role, scheme="ed25519"):
        key = new_key(scheme)
        self.signers[role].append(key)
        self.root["roles"][role]["keyids"].append(key["keyid"])
        self.root["keys"][key["keyid"]] = public_part(key)
        return key

    def delegate(self, delegator, name, paths=("*",), terminating=False, expires=None, **more):
        body = self.signed[delegator].setdefault("delegations", {"keys": {}, "roles": []})
        key = new_key()
        self.signers.setdefault(name, []).append(key)
        body["keys"][key["keyid"]] = public_part(key)
        body["roles"].append({"name": name, **role_of([key]), "terminating": terminating,
                              "paths": list(paths), **more})
        if name not in self.signed:
            self.signed[name] = {"_type": "targets", "spec_version": "1.0.33", "version": 0,
                                 "expires": expires or utc(), "targets": {}}

    def add_artifact(self, role, path, data, algorithms=("sha256",)):
        hashes = {name: hashlib.new(name, data).hexdigest() for name in algorithms}
        self.signed[role]["targets"][path] = {"length": len(data), "hashes": hashes}
        self.artifacts[path] = data

    def sign(self, role):
        message = formats.encode_canonical(self.signed[role]).encode()
        made = [keys.create_signature(key, message) for key in self.signers[role]]
        return {"signatures": made, "signed": self.signed[role]}

    def publish(self, *roles, version=None):
        """Raises the version of each role (or sets it) and signs it, in the order given."""
        for role in roles:
            body = self.signed[role]
            body["version"] = version or body["version"] + 1
            self.put(role, json.dumps(self.sign(role)).encode())

    def put(self, role, data):
        version = self.signed[role]["version"]
        self.files.setdefault(role, {}).pop(version, None)
        self.files[role][version] = data
        meta = {"version": version}
        if self.with_hashes:
            meta.update(length=len(data), hashes={"sha256": hashlib.sha256(data).hexdigest()})
        if role == "snapshot":
            self.signed["timestamp"]["meta"] = {"snapshot.json": meta}
        elif role not in ("root", "timestamp"):
            self.signed["snapshot"]["meta"][role + ".json"] = meta

    def publish_all(self):
        self.publish(*[role for role in self.signed if role not in TOP], *ONLINE)

    def newest(self, role):
        return list(self.files[role].values())[-1]

    def forge(self, role, change):
        """Changes the newest file of a role after it was signed."""
        version, data = list(self.files[role].items())[-1]
        envelope = json.loads(data)
        change(envelope)
        self.files[role][version] = json.dumps(envelope).encode()

    def answer(self, path):
        """The bytes of a request, or None for 404."""
        area, _, name = path.partition("/")
        if area == "targets":
            self.requests.append("targets/" + name)
            return self.artifact(urllib.parse.unquote(name))
        if not name.endswith(".json"):
            return None
        name = name[: -len(".json")]
        self.requests.append(name)
        version, dot, role = name.partition(".")
        if not dot or not version.isdigit():
            role, version = name, None
        versions = self.files.get(urllib.parse.unquote(role), {})
        if version is None:
            return list(versions.values())[-1] if versions else None
        return versions.get(int(version))

    def artifact(self, name):
        if not self.root["consistent_snapshot"]:
            return self.artifacts.get(name)
        directory, slash, last = name.rpartition("/")
        digest, _, last = last.partition(".")
        path = directory + slash + last
        known = any(digest in body["targets"].get(path, {"hashes": {}})["hashes"].values()
                    for role, body in self.signed.items() if role not in TOP or role == "targets")
        return self.artifacts.get(path) if known else None


class Server(http.server.ThreadingHTTPServer):
    """Serves many repositories: /NUMBER/metadata/..., /NUMBER/targets/..."""

    daemon_threads = True

    def __init__(self, certificate=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"
        self.repositories = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def add(self, repository):
        self.repositories.append(repository)
        return f"{self.scheme}://127.0.0.1:{self.server_port}/{len(self.repositories) - 1}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        number, _, path = self.path.lstrip("/").partition("/")
        data = self.server.repositories[int(number)].answer(path)
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            self.wfile.write(data)
        except ConnectionError:
            self.close_connection = True  # a client that was killed, or has had enough

    def log_message(self, *_):
        pass


class Client:
    """Runs the program under test against one repository."""

    def __init__(self, program, url, directory):
        self.program, self.url = program, url
        self.metadata = os.path.join(directory, "metadata")
        self.targets = os.path.join(directory, "targets")
        self.root = os.path.join(directory, "trusted_root.json")
        os.mkdir(self.metadata)
        os.mkdir(self.targets)
        self.output = ""

    def run(self, *arguments, day=0):
        command = [self.program, "--metadata-dir", self.metadata, *arguments]
        if day:
            moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=day)
            command = ["faketime", str(moment), *command]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.output += f"$ {' '.join(arguments)} -> {done.returncode}\n{done.stderr}"
        return done.returncode

    def init(self, root):
        with open(self.root, "wb") as file:
            file.write(root)
        return self.run("init", self.root)

    def refresh(self, day=0):
        return self.run("--metadata-url", self.url + "/metadata/", "refresh", day=day)

    def download(self, *names, day=0):
        chosen = [word for name in names for word in ("--target-name", name)]
        return self.run("--metadata-url", self.url + "/metadata", *chosen, "--target-dir",
                        self.targets, "--target-base-url", self.url + "/targets/", "download", day=day)

    def bytes_of(self, role):
        path = os.path.join(self.metadata, role + ".json")
        if not os.path.exists(path):
            return None
        with open(path, "rb") as file:
            return file.read()

    def version(self, role):
        data = self.bytes_of(role)
        return json.loads(data)["signed"]["version"] if data else None

    def trusted(self):
        names = sorted(os.listdir(self.metadata))
        return {name[:-5]: self.version(name[:-5]) for name in names if name.endswith(".json")}

    def artifacts(self):
        found = []
        for name in sorted(os.listdir(self.targets)):
            with open(os.path.join(self.targets, name), "rb") as file:
                found.append(file.read())
        return sorted(found)
