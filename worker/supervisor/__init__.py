"""The process of `dq worker`: it starts worker processes, and repairs what crashes leave behind."""
