"""Summarises columns of numbers.

`summary(path)` returns count, sum and mean; `column(path)` the numbers.
"""

import csv


def column(path):
    with open(path, newline="") as rows:
        return [float(row["value"]) for row in csv.DictReader(rows)]


def summary(path):
    numbers = column(path)
    return {"count": len(numbers), "sum": sum(numbers), "mean": sum(numbers) / len(numbers)}
