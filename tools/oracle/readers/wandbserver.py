"""As much of a W&B server as `wandb sync` asks for: it keeps what is uploaded."""

import gzip
import http.server
import json
import re
import threading


class Server(http.server.ThreadingHTTPServer):
    """history has the rows of the run, files the names of what was uploaded, complete the run's exit code."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.history, self.files, self.complete = [], [], None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, query, v):
        """The data of a GraphQL query, by its name, for variables v."""
        name = re.search(r"(?:query|mutation)\s+(\w+)", query)
        project = {"id": "1", "name": v.get("project") or v.get("name"), "entity": {"id": "1", "name": "me"}}
        bucket = {"id": "1", "name": v.get("name"), "displayName": "run", "description": "", "config": None, "sweepName": None, "project": project, "historyLineCount": 0}
        uploads = [{"name": f, "uploadUrl": f"{self.url}/upload/{f}", "url": f"{self.url}/upload/{f}"} for f in v.get("files") or []]
        return {
            "UpsertBucket": {"upsertBucket": {"bucket": bucket, "inserted": True}},
            "Viewer": {"viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}},
            "CreateRunFiles": {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": uploads}},
            "RunUploadUrls": {"model": {"bucket": {"id": "1", "files": {"uploadHeaders": [], "edges": [{"node": u} for u in uploads]}}}},
        }.get(name and name.group(1), {})

    def stream(self, message):
        """A message of the file stream: lines of history, or the run's end."""
        for line in message.get("files", {}).get("wandb-history.jsonl", {}).get("content", []):
            self.history.append(json.loads(line))
        if message.get("complete"):
            self.complete = message["exitcode"]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def body(self):
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def reply(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.reply({})

    def do_PUT(self):
        self.body()
        self.server.files.append(self.path.removeprefix("/upload/"))
        self.reply({})

    def do_POST(self):
        message = json.loads(self.body())
        if self.path == "/graphql":
            self.reply({"data": self.server.answer(message["query"], message.get("variables") or {})})
        else:
            self.server.stream(message)
            self.reply({"exitcode": None, "limits": {}})
