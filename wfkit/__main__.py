"""`python -m wfkit` is the command `wfkit`."""

from wfkit.cli.main import program

if __name__ == "__main__":
    program()
