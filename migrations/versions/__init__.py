"""The revisions, oldest first; each only adds, so that the last release still works.

A revision sets `compatibility.oldest_revision` to that of the last release, whose workers go on
during an upgrade; what only they used is dropped one release later. Revision 0003 is the exception:
it renames a column, and sets itself as the oldest, since no release had come before it.
"""
