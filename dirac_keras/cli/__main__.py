"""`python -m dirac_keras.cli`: the command, where it is not on the path."""

from dirac_keras.cli import main

if __name__ == "__main__":
    main()
