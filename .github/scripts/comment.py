#!/usr/bin/env python3
"""comment.py REPORT...: puts each report on the pull request, in one comment per stack.

The first line of a report is a hidden marker. A comment of a bot that begins with it is edited;
only without one is a comment added. So there is never more than one for a stack. A stack without a
report (its job ended before the preview) gets one that says so, in place of an earlier one that
may have been green.

Python's own library and GitHub's REST API, rather than an action of a third party (it would be
handed a token that can write) or `gh` (it cannot be pointed at a server of a test).
Environment: GITHUB_API_URL, GITHUB_REPOSITORY, GITHUB_TOKEN, PULL_REQUEST, STACKS (the stacks that
were to be previewed, a JSON list) and JOBS (the address of the run).
"""

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

LONGEST = 65_000
"""GitHub takes 65,536 characters."""

MARKER = "<!-- aks-istio-ca: preview of "
"""Begins the first line of every report: no other comment of a bot is ever edited."""

PER_PAGE = 100
TIMEOUT = 30


def call(method: str, path: str, body: dict[str, str] | None = None) -> Any:
    """One request to GitHub's API; the decoded answer. Any other status than 2xx raises."""
    request = urllib.request.Request(
        f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        return json.load(answer)


def earlier(pull_request: str, marker: str) -> int | None:
    """The id of the bot's comment that begins with the marker."""
    page = 1
    while True:
        path = f"issues/{pull_request}/comments?per_page={PER_PAGE}&page={page}"
        comments = call("GET", path)
        for comment in comments:
            if comment["user"]["type"] == "Bot" and comment["body"].startswith(marker):
                return int(comment["id"])
        if len(comments) < PER_PAGE:
            return None
        page += 1


def put(pull_request: str, report: str) -> str:
    """Edits or adds the comment of a report; returns which."""
    marker = report.partition("\n")[0]
    if len(report) > LONGEST:
        report = f"{report[:LONGEST]}\n\nThe rest is in the summary of the job."
    comment = earlier(pull_request, marker)
    if comment is None:
        call("POST", f"issues/{pull_request}/comments", {"body": report})
        return "added"
    call("PATCH", f"issues/comments/{comment}", {"body": report})
    return "edited"


def missing(stack: str) -> str:
    """The report of a stack whose preview left none."""
    return (
        f"{MARKER}{stack} -->\n## {stack}: the preview did not run\n\n"
        f"Its job ended before that; its log says why: {os.environ['JOBS']}\n"
    )


def main(reports: list[str]) -> int:
    """Puts every report on the pull request, and one for every stack that has none."""
    # A pattern that matches nothing is handed over by the shell as it is.
    files = [Path(name) for name in reports if Path(name).is_file()]
    texts = {str(file): file.read_text(encoding="utf-8") for file in files}
    for name, text in texts.items():
        if not text.startswith(MARKER):
            print(f"{name} does not begin with `{MARKER}`: not a report", file=sys.stderr)
            return 1
    for stack in json.loads(os.environ["STACKS"]):
        if not any(text.startswith(f"{MARKER}{stack} -->") for text in texts.values()):
            texts[f"no report of {stack}"] = missing(stack)
    for name, text in texts.items():
        print(f"{name}: {put(os.environ['PULL_REQUEST'], text)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
