"""Stands in for torch: there is no GPU."""


class cuda:
    @staticmethod
    def is_available():
        return False
