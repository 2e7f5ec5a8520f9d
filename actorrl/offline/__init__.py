"""Recorded experience: written by rollout workers, read by learners that have no environment.

Reading order: `dataset` (what lies in a folder), `writer`, `reader`.
"""
