"""Searches that submit jobs as they learn from the last ones: which rate is best."""
