"""Servers that answer the same small JSON at the same address, each as its users would build it.

    python -m tests.bench.servers.NAME PORT FOLDER

What a server logs goes to files in FOLDER. `tests.bench.stack` starts them and sends the requests.
"""

PATH = "/api/v1/answer"
ANSWER = {"answer": "Open the settings, choose Sessions, and press Reset.", "sources": 3, "degraded": False}
