"""Scripts that are sent to hosts and run there, by whatever Python is found.

Each is one function, `main(told, data)`: its parameters, and a stream of what was sent after them.
What it returns is its answer, a mapping for JSON. Standard library only, and words that Python 3.6
understands: the message about a wrong Python is given by one of them.
"""
