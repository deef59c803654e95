"""The revisions, oldest first; each adds, and leaves what the release before still uses.

A revision sets `compatibility.oldest_revision` to the one before it, so that workers of the last
release go on while the new one comes; what they used is dropped a release later.
"""
