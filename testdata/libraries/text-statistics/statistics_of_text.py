def lines(text):
    return len(text.splitlines())
